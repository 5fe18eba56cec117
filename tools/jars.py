"""Pins the jars of the embedded Kafka anew: `make lock-jars`. Needs a network; nobody else runs it.

jgo resolves the POMs, and what a broker and Kafka's own tools do not need is left out: Connect, which kafka-tools
brings along for one command that looks for its plugins, with its web server; and libraries of which no class is used.
`tests/integration/test_embedded_broker.py` shows that what is left suffices.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import MavenContext
from jgo.maven import PythonResolver as Resolver

from app.kafka.embedded import jars

KAFKA = "4.3.1"
SLF4J = "1.7.36"  # Kafka's own line of slf4j-api: it ignores a binding of the 2.x line, and the broker logs nothing
WANTED = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}",
    f"org.apache.kafka:kafka-tools:{KAFKA}",
    f"org.slf4j:slf4j-simple:{SLF4J}",
)

LEFT_OUT_GROUPS = (
    "com.fasterxml.jackson.jakarta",
    "com.fasterxml.jackson.module",
    "com.sun.activation",
    "io.github.classgraph",
    "io.swagger",
    "jakarta.",
    "javax.",
    "org.apache.maven",
    "org.codehaus.plexus",
    "org.eclipse.jetty",
    "org.glassfish",
    "org.javassist",
)
LEFT_OUT = {
    "commons-beanutils",
    "commons-collections",
    "commons-digester",
    "commons-logging",
    "connect-api",
    "connect-json",
    "connect-runtime",
    "connect-transforms",
    "jackson-dataformat-yaml",  # for the container image of Kafka
    "scala-reflect",
    "snakeyaml",
}
HEAD = """\
# The jars of the embedded Kafka: broker and command line tools, without Connect and its web server.
# tools/jars.py makes this list and says how it is chosen. Coordinates, SHA-256 and sizes only: where jars are
# fetched from is the machine's configuration.
"""


def main() -> None:
    """Resolve, fetch into a folder that is thrown away, and write the lock."""
    with tempfile.TemporaryDirectory() as folder:
        remotes = dict(enumerate(jars.repositories()))
        context = MavenContext(
            resolver=Resolver(),
            repo_cache=Path(folder),
            remote_repos={f"repository{number}": address for number, address in remotes.items()},
            timeout=jars.REQUEST_SECONDS,
        )
        inputs, transitive = context.resolver.resolve([context.create_dependency(one) for one in WANTED])
        rows = []
        for artifact in sorted((dependency.artifact for dependency in (*inputs, *transitive)), key=str):
            if artifact.groupId.startswith(LEFT_OUT_GROUPS) or artifact.artifactId in LEFT_OUT:
                continue
            content = artifact.resolve().read_bytes()
            coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            digest = hashlib.sha256(content).hexdigest()
            rows.append(f'    {{ coordinate = "{coordinate}", bytes = {len(content)}, sha256 = "{digest}" }},\n')
    text = f'{HEAD}kafka = "{KAFKA}"\n\njars = [\n{"".join(rows)}]\n'
    size = sum(jar.size_bytes for jar in jars.parse_lock(text).jars)
    Path(jars.__file__).with_name("jars.toml").write_text(text)
    sys.stdout.write(f"jars.toml pins {len(rows)} jars of Kafka {KAFKA}, {size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main()
