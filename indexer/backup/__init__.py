"""A data folder and its catalogue copied to a folder of backups while they are in use, checked, and put back."""

from indexer.backup.archive import BackupError
from indexer.backup.report import Done, Progress
from indexer.backup.restoring import restore
from indexer.backup.saving import backup
from indexer.backup.verifying import verify, verify_backup

__all__ = ["BackupError", "Done", "Progress", "backup", "restore", "verify", "verify_backup"]
