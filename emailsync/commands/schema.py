"""`emailsyncd migrate`."""

from emailsync.commands.output import Answer, ExitCode
from emailsync.config import Settings
from emailsync.store.migrations import migrate
from emailsync.store.opening import database_server


async def migrate_schema(settings: Settings, answer: Answer) -> int:
    """Bring the schema up to date and say what was applied."""
    async with database_server(settings, attach=True) as url:
        applied = [migration.name for migration in await migrate(url)]
    line = f"applied: {', '.join(applied)}" if applied else "the schema is up to date"
    answer.say(line, applied=applied)
    return ExitCode.OK
