"""What a service does beside answering: each task on its own, none waits for another, none fails in silence."""

from service.background.supervisor import Supervisor, Task, TaskState

__all__ = ["Supervisor", "Task", "TaskState"]
