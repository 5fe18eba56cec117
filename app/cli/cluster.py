"""The cluster that a command talks to, and the settings that fit it."""

from dataclasses import dataclass
from typing import Final

from app.cli import options, output
from app.kafka.admin import Admin
from app.settings import KafkaSettings, Settings, is_loopback

_SHAPE: Final = ("kafka.partitions", "kafka.replication_factor", "kafka.min_insync_replicas")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that answers. `development`: it looks like the one of `headgate dev`, and nobody said otherwise."""

    admin: Admin
    settings: Settings
    development: bool

    @property
    def kafka(self) -> KafkaSettings:
        """The settings of Kafka."""
        return self.settings.kafka


def connect() -> Cluster:
    """Connect with the settings of this call.

    A single broker on this machine, and no word about partitions and copies anywhere: that is `headgate dev`, and the
    defaults of development hold. Raises SettingsError, KafkaUnreachable.
    """
    settings = options.settings()
    admin = Admin.connect(settings.kafka)
    if _may_be_development(settings) and len(admin.brokers()) == 1:
        return Cluster(admin=admin, settings=options.settings(dev=True), development=True)
    return Cluster(admin=admin, settings=settings, development=False)


def settings_of_worker() -> Settings:
    """The settings of this call, with partitions and copies as every other command takes them for this cluster.

    Asks Kafka only where its answer matters. Raises SettingsError, KafkaUnreachable.
    """
    settings = options.settings()
    if not _may_be_development(settings):
        return settings
    found = connect()
    say_if_development(found)
    return found.settings


def _may_be_development(settings: Settings) -> bool:
    here = all(is_loopback(address.rpartition(":")[0]) for address in settings.kafka.bootstrap.split(","))
    return here and all(settings.source(name) == "default" for name in _SHAPE)


def say_if_development(cluster: Cluster) -> None:
    """Tell people why other numbers hold than the documented ones."""
    if cluster.development:
        output.note(
            f"One broker on this machine: development defaults ({cluster.kafka.partitions} partitions, "
            f"{cluster.kafka.replication_factor} copy). Set kafka.partitions and kafka.replication_factor to choose."
        )
