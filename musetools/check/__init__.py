"""What puts the lips of a clip out of sync: findings of a file, and of a folder of them."""

from musetools.check.clip import ClipAudit, audit_clip
from musetools.check.findings import Finding
from musetools.check.folder import FolderAudit, audit_folder

__all__ = ["ClipAudit", "Finding", "FolderAudit", "audit_clip", "audit_folder"]
