"""What programs have done."""

from dataclasses import dataclass, field


@dataclass
class Done:
    """By a transaction, or by one of its savepoints."""

    # (table, row id)
    rows: list = field(default_factory=list)
    made: list = field(default_factory=list)
    dropped: list = field(default_factory=list)
    # Key ids.
    destroyed: list = field(default_factory=list)
    # A document by its table.
    exported: dict = field(default_factory=dict)

    def add(self, later):
        self.rows += later.rows
        self.made += later.made
        self.dropped += later.dropped
        self.destroyed += later.destroyed
        self.exported |= later.exported


@dataclass
class Work:
    """A program that has come to its end, and how far its PREPARE has come."""

    program: str
    done: Done
    was_prepared: bool = False
    # Whether COMMIT PREPARED (True) or ROLLBACK PREPARED was sent.
    decision: bool | None = None
