"""The catalogue's tables. The first five carry the published names (spec 000 section 2.5), so that its tools find what they expect."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

schema_version = Table("SchemaVersion", metadata, Column("version", Integer, primary_key=True))

episodes = Table(
    "Episodes",
    metadata,
    Column("EpisodeId", String(26), key="episode_id", primary_key=True),
    Column("TaskId", String(200), key="task", nullable=False, index=True),
    Column("DataPath", Text, key="data_path", nullable=False),
    Column("Timestamp", BigInteger, key="timestamp", nullable=False, index=True),
    Column("EpisodeType", String(40), key="episode_type", nullable=False),
    Column("StoreId", String(26), key="store_id", nullable=False, index=True),
    Column("Kind", String(20), key="kind", nullable=False),
    Column("Cell", String(200), key="cell", nullable=False),
    Column("Robot", String(200), key="robot", nullable=False),
    Column("Source", String(200), key="source", nullable=False, index=True),
    Column("BundleId", String(64), key="bundle_id", nullable=False),
    Column("ResetMode", String(20), key="reset_mode", nullable=False),
    Column("InitialState", String(200), key="initial_state", nullable=False),
    Column("Seed", BigInteger, key="seed"),
    Column("Continues", String(26), key="continues", nullable=False),
    Column("Pace", String(20), key="pace", nullable=False),
    Column("ActionSpace", String(200), key="action_space", nullable=False),
    Column("Steps", Integer, key="steps", nullable=False),
    Column("Success", Boolean, key="success"),
    Column("Terminated", Boolean, key="terminated", nullable=False),
    Column("Truncated", Boolean, key="truncated", nullable=False),
    Column("Reason", String(200), key="reason", nullable=False),
    Column("Lost", BigInteger, key="lost", nullable=False),
    Column("Hash", String(64), key="hash", nullable=False),
    Column("Started", BigInteger, key="started", nullable=False),
    Column("Duration", Float, key="duration", nullable=False),
    Column("Metadata", Text, key="metadata_json", nullable=False),
)

tags = Table("Tags", metadata, Column("Name", String(200), key="name", primary_key=True))

episode_tags = Table(
    "EpisodeTags",
    metadata,
    Column("EpisodeId", String(26), ForeignKey("Episodes.episode_id"), key="episode_id", primary_key=True),
    Column("Tag", String(200), ForeignKey("Tags.name"), key="tag", primary_key=True),
)

reward_sequences = Table(
    "RewardSequences",
    metadata,
    Column("EpisodeId", String(26), ForeignKey("Episodes.episode_id"), key="episode_id", nullable=False),
    Column("RewardSequenceId", String(26), key="sequence_id", primary_key=True),
    Column("RewardTaskId", String(200), key="task", nullable=False),
    Column("Type", String(40), key="type", nullable=False),
    Column("User", String(200), key="user", nullable=False),
    Column("Values", LargeBinary, key="values", nullable=False),
    Column("Revision", BigInteger, key="revision", nullable=False),
    Index("RewardSequencesByEpisode", "episode_id", "task"),
)

archive_files = Table(
    "ArchiveFiles",
    metadata,
    Column("EpisodeId", String(26), ForeignKey("Episodes.episode_id"), key="episode_id", primary_key=True),
    Column("ArchiveFile", Text, key="file", primary_key=True),
)

annotation_log = Table(
    "Annotations",
    metadata,
    Column("Revision", BigInteger, key="revision", primary_key=True, autoincrement=False),
    Column("EpisodeId", String(26), ForeignKey("Episodes.episode_id"), key="episode_id", nullable=False, index=True),
    Column("Kind", String(40), key="kind", nullable=False),
    Column("Name", String(200), key="name", nullable=False),
    Column("Value", Text, key="value", nullable=False),
    Column("Author", String(200), key="author", nullable=False),
    Column("Created", BigInteger, key="created", nullable=False),
)
"""Append-only. Kinds: tag (true, false), success (true, false, null), hidden (true, false), trim ([first, last] or null), note,
reward_sequence (its id), predicted_reward (its file; see predictions.py), reward (see reward_overrides.py)."""

commits = Table(
    "EpisodeCommits",
    metadata,
    Column("EpisodeId", String(26), ForeignKey("Episodes.episode_id"), key="episode_id", primary_key=True),
    Column("Revision", BigInteger, key="revision", nullable=False),
    Column("RecordedSuccess", Boolean, key="success"),
)
"""Since which revision an episode is there, and how it was judged while recording: what a past revision needs. Rows of catalogues that
are older than this table have none; they count as there from the beginning."""

drafts = Table(
    "SketchDrafts",
    metadata,
    Column("EpisodeId", String(26), ForeignKey("Episodes.episode_id"), key="episode_id", primary_key=True),
    Column("RewardTaskId", String(200), key="task", primary_key=True),
    Column("User", String(200), key="user", primary_key=True),
    Column("Version", BigInteger, key="version", nullable=False),
    Column("Revision", BigInteger, key="revision", nullable=False),
    Column("Values", LargeBinary, key="values", nullable=False),
)
"""A curve while it is drawn: float32, NaN where nothing was drawn yet. `Revision` is the catalogue's when it was saved: a sketch of the
same user with a later one has taken the draft up."""

saved_queries = Table(
    "SavedQueries",
    metadata,
    Column("Name", String(200), key="name", primary_key=True),
    Column("Where", Text, key="where", nullable=False),
)

evaluations = Table(
    "Evaluations",
    metadata,
    Column("EvaluationId", String(26), key="evaluation_id", primary_key=True),
    Column("TaskId", String(200), key="task", nullable=False, index=True),
    Column("Plan", Text, key="plan", nullable=False),
    Column("Author", String(200), key="author", nullable=False),
    Column("Created", BigInteger, key="created", nullable=False),
    Column("Revealed", BigInteger, key="revealed"),
)
"""A controlled evaluation (spec 000 section 2.13): `Plan` is JSON, with the trials in their order. Revealed: when (ns), of a blind one."""

evaluation_results = Table(
    "EvaluationResults",
    metadata,
    Column("Number", Integer, key="number", primary_key=True, autoincrement=True),
    Column("EvaluationId", String(26), ForeignKey("Evaluations.evaluation_id"), key="evaluation_id", nullable=False, index=True),
    Column("Trial", Integer, key="trial", nullable=False),
    Column("PolicyId", String(200), key="policy", nullable=False),
    Column("StartId", String(200), key="start", nullable=False),
    Column("Success", Boolean, key="success"),
    Column("Note", Text, key="note", nullable=False),
    Column("User", String(200), key="user", nullable=False),
    Column("EpisodeId", String(26), key="episode_id", nullable=False),
    Column("Created", BigInteger, key="created", nullable=False),
)
"""Append-only: of several results of a trial the last one holds."""

revision = Table("Revision", metadata, Column("id", Integer, primary_key=True), Column("value", BigInteger, nullable=False))
"""One row. Raised inside the transaction of every commit and annotation, so that revisions become visible in order on every database."""
