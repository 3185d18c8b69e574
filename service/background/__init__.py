"""Background tasks of the service: independent of each other, with failures logged and reported."""

from service.background.supervisor import Supervisor, Task, TaskState

__all__ = ["Supervisor", "Task", "TaskState"]
