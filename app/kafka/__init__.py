"""Everything that speaks to Kafka: clients, the fenced journal, Faust, and the embedded broker.

log.py                                     all that the pump knows of Kafka
memory.py memory_cluster.py                the same in memory
faust_app.py chunks.py                     the group and its assignment; Faust's channel, filled with chunks
fetching.py batches.py lenient.py          long polls; batches to records, however odd
journal.py appender.py                     one partition's fenced appends; those of all partitions, gathered
requests.py encoder.py line.py             Produce, Fetch and record batches as bytes; a connection for them
wire.py offsets.py                         rare requests; those for offsets, many in one
sender.py outward.py                       unfenced sends; those to topics that are not Headgate's
producer.py unfenced.py                    the gateway's events: into batches, and each of them once
follow.py answers.py                       topics read whole; results awaited by run id
contact.py attendance.py                   whether brokers answer; whether anybody is in a group
admin.py provisioning.py                   looks at a cluster; topics as they should be
records.py tools.py                        what the command line reads and writes; Kafka's own tools
clients.py identity.py broker_version.py   settings for each client; which topic of which cluster; which broker
"""
