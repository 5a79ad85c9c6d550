"""Names of the published store layout (spec 000 line 30): the tables of `metadata.sqlite`, and the features of an episode's timesteps."""

from __future__ import annotations

import hashlib

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table
from ulid import ULID

DATABASE = "metadata.sqlite"
OURS = "apprentice/"
"""features that only our import reads begin so; other readers skip what they do not name"""
EPISODE = f"{OURS}episode"
STEP = f"{OURS}step"
IMPORTED = "imported"
"""tag of an episode that was not recorded by us"""

metadata = MetaData()
_EPISODE = "Episodes.EpisodeId"
episodes = Table(
    "Episodes", metadata, Column("EpisodeId", String, primary_key=True), Column("TaskId", String), Column("DataPath", String),
    Column("Timestamp", Integer), Column("EpisodeType", String),
)
tags = Table("Tags", metadata, Column("Name", String, primary_key=True))
episode_tags = Table(
    "EpisodeTags", metadata, Column("EpisodeId", String, ForeignKey(_EPISODE), primary_key=True),
    Column("Tag", String, ForeignKey("Tags.Name"), primary_key=True),
)
reward_sequences = Table(
    "RewardSequences", metadata, Column("EpisodeId", String, ForeignKey(_EPISODE), primary_key=True),
    Column("RewardSequenceId", String, primary_key=True), Column("RewardTaskId", String), Column("Type", String), Column("User", String),
    Column("Values", LargeBinary),
)
archive_files = Table(
    "ArchiveFiles", metadata, Column("EpisodeId", String, ForeignKey(_EPISODE), primary_key=True), Column("ArchiveFile", String)
)

ARRAYS = {
    "joints/position": "sawyer/joints/angle", "joints/velocity": "sawyer/joints/velocity", "joints/effort": "sawyer/joints/torque",
    "gripper/position": "gripper/joints/angle", "gripper/velocity": "gripper/joints/velocity", "gripper/effort": "gripper/joints/torque",
    "tool/pose": "sawyer/pinch/pose", "tool/twist": "sawyer/tcp/velocity",
}
"""our array: published feature of the same meaning on a Sawyer. The order of the published quaternion is not stated; read as ours, xyzw."""
FORCE, TORQUE = "wrist/force", "wrist/torque"
"""the halves of our wrist/wrench"""
SIZES = {"sawyer/joints/angle": 7, "sawyer/joints/velocity": 7, "sawyer/joints/torque": 7, "gripper/joints/angle": 1,
         "gripper/joints/velocity": 1, "gripper/joints/torque": 1, "sawyer/pinch/pose": 7, "sawyer/tcp/velocity": 6}
ACTIONS = "actions"
PIXELS = "pixels/"
CAMERAS = {"wrist_left": "usbcam0", "wrist_right": "usbcam1"}
"""our camera: published one, where the names differ"""


def published_id(episode_id: str) -> str:
    """Our ULID as a string of digits: the same 128 bits, so that nothing needs to be remembered."""
    return str(int(ULID.from_str(episode_id)))


def our_id(digits: str) -> str:
    """The inverse; ValueError for what is no number of at most 128 bits."""
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 39 or int(digits) >= 1 << 128:
        raise ValueError(f"{digits[:60]!r} is not an episode id of up to 128 bits in digits")
    return str(ULID.from_int(int(digits)))


def our_sequence_id(episode_id: str, sequence_id: str) -> str:
    """A ULID stays; any other name becomes one, always the same for the same episode."""
    try:
        return str(ULID.from_str(sequence_id))
    except ValueError:
        return str(ULID.from_bytes(hashlib.sha256(f"{episode_id} {sequence_id}".encode()).digest()[:16]))
