{{/*
What a schema cannot say: values that are right one by one and wrong together. Every message names the values, the
fact and the remedy. Included once, by configmap.yaml, so that nothing is rendered around it.
*/}}
{{- define "headgate.checks" -}}
{{- $config := .Values.config -}}
{{- $secrets := .Values.secrets -}}
{{- $protocol := $config.kafka.security_protocol | default "PLAINTEXT" -}}

{{- if .Values.worker.enabled -}}
{{- if gt (int .Values.worker.replicas) (int $config.kafka.partitions) -}}
{{- fail (printf "worker.replicas is %d and config.kafka.partitions is %d: a worker without a partition has nothing to do. Lower worker.replicas to at most %d." (int .Values.worker.replicas) (int $config.kafka.partitions) (int $config.kafka.partitions)) -}}
{{- end -}}
{{- $least := addf (float64 $config.worker.drain_timeout_seconds) 10 | ceil | int -}}
{{- if lt (int .Values.worker.terminationGracePeriodSeconds) $least -}}
{{- fail (printf "worker.terminationGracePeriodSeconds is %d and config.worker.drain_timeout_seconds is %v: the worker would be killed while it drains. Set worker.terminationGracePeriodSeconds to at least %d." (int .Values.worker.terminationGracePeriodSeconds) $config.worker.drain_timeout_seconds $least) -}}
{{- end -}}
{{- $sources := list -}}
{{- range $name := list "files" "existingConfigMap" "existingClaim" "imagePath" -}}
{{- if index $.Values.workflows $name -}}{{- $sources = append $sources (printf "workflows.%s" $name) -}}{{- end -}}
{{- end -}}
{{- if ne (len $sources) 1 -}}
{{- fail (printf "workflows: %s. Set exactly one of workflows.files, workflows.existingConfigMap, workflows.existingClaim and workflows.imagePath, or worker.enabled=false." (ternary "none is given, and a worker needs some" (printf "%s are given" (join " and " $sources)) (empty $sources))) -}}
{{- end -}}
{{- with $config.worker.data -}}
{{- if not (or (eq . "/data") (hasPrefix "/data/" .)) -}}
{{- fail (printf "config.worker.data is %q, which cannot be written: the root file system is read-only. Use /data or a folder in it." .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.worker.storage.persistent (not $config.worker.data) -}}
{{- fail "worker.storage.persistent is true and config.worker.data is not set: nothing would be kept on the volume. Set config.worker.data to /data." -}}
{{- end -}}
{{- end -}}

{{- if include "headgate.runs" (list . "connectors") -}}
{{- $least := addf (float64 $config.connectors.drain_timeout_seconds) 10 | ceil | int -}}
{{- if lt (int .Values.connectors.terminationGracePeriodSeconds) $least -}}
{{- fail (printf "connectors.terminationGracePeriodSeconds is %d and config.connectors.drain_timeout_seconds is %v: connectors would be killed while they drain. Set connectors.terminationGracePeriodSeconds to at least %d." (int .Values.connectors.terminationGracePeriodSeconds) $config.connectors.drain_timeout_seconds $least) -}}
{{- end -}}
{{- if and .Values.connectors.sources .Values.connectors.existingConfigMap -}}
{{- fail "connectors.sources and connectors.existingConfigMap are both set, and only one of them can be the file of sources. Leave one of them out." -}}
{{- end -}}
{{- $ids := list -}}
{{- range .Values.connectors.sources -}}
{{- if has .id $ids -}}
{{- fail (printf "connectors.sources has %q twice. Give each source an id of its own." .id) -}}
{{- end -}}
{{- if and (eq .kind "webhook") (not $.Values.gateway.enabled) -}}
{{- fail (printf "connectors.sources has the webhook %q and gateway.enabled is false: nobody would receive it. Set one of them differently." .id) -}}
{{- end -}}
{{- $ids = append $ids .id -}}
{{- end -}}
{{- else if $secrets.sources.existingSecrets -}}
{{- fail "secrets.sources.existingSecrets is set and no connectors run that could use them. Give connectors.sources, set connectors.enabled=true, or leave the Secrets out." -}}
{{- end -}}

{{- if .Values.gateway.enabled -}}
{{- if not $secrets.gatewayToken.existingSecret -}}
{{- fail "secrets.gatewayToken.existingSecret is empty: a gateway without a token does not start. Create a Secret with a token of at least 8 characters and name it here, or set gateway.enabled=false." -}}
{{- end -}}
{{- /* 5 until no load balancer sends anything more, at most 20 for the requests under way (calls that wait are told
       at once where their results will be), 10 to drain the producer. */ -}}
{{- $least := max 35 (addf (float64 $config.gateway.produce_timeout_seconds) 15 | ceil | int) -}}
{{- if lt (int .Values.gateway.terminationGracePeriodSeconds) $least -}}
{{- fail (printf "gateway.terminationGracePeriodSeconds is %d and config.gateway.produce_timeout_seconds is %v: requests under way would be cut off. Set gateway.terminationGracePeriodSeconds to at least %d." (int .Values.gateway.terminationGracePeriodSeconds) $config.gateway.produce_timeout_seconds $least) -}}
{{- end -}}
{{- with $config.gateway.read_model -}}
{{- if not (hasPrefix "/tmp/" .) -}}
{{- fail (printf "config.gateway.read_model is %q, which cannot be written: the root file system is read-only. Use a file in /tmp, or leave it out." .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.gateway.ingress.enabled (not .Values.gateway.ingress.hosts) -}}
{{- fail "gateway.ingress.hosts is empty and gateway.ingress.enabled is true. Name at least one host." -}}
{{- end -}}
{{- if and .Values.gateway.httpRoute.enabled (not .Values.gateway.httpRoute.parentRefs) -}}
{{- fail "gateway.httpRoute.parentRefs is empty and gateway.httpRoute.enabled is true. Name at least one Gateway." -}}
{{- end -}}
{{- else -}}
{{- range $name := list "ingress" "httpRoute" -}}
{{- if (index $.Values.gateway $name).enabled -}}
{{- fail (printf "gateway.%s.enabled is true and gateway.enabled is false: there is nothing to lead to. Set one of them differently." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- range $name, $host := dict "worker.metrics_host" $config.worker.metrics_host "connectors.metrics_host" $config.connectors.metrics_host "gateway.host" $config.gateway.host -}}
{{- if has $host (list "127.0.0.1" "::1" "localhost") -}}
{{- fail (printf "config.%s is %q: probes and other pods could not reach it. Use 0.0.0.0, or :: where there is IPv6 only." $name $host) -}}
{{- end -}}
{{- end -}}

{{- if gt (int $config.kafka.min_insync_replicas) (int $config.kafka.replication_factor) -}}
{{- fail (printf "config.kafka.min_insync_replicas is %d and config.kafka.replication_factor is %d: nothing could be written. Lower the first or raise the second." (int $config.kafka.min_insync_replicas) (int $config.kafka.replication_factor)) -}}
{{- end -}}
{{- if hasPrefix "SASL" $protocol -}}
{{- if not (and $config.kafka.sasl_mechanism $config.kafka.sasl_username $secrets.saslPassword.existingSecret) -}}
{{- fail (printf "config.kafka.security_protocol is %s, which needs config.kafka.sasl_mechanism, config.kafka.sasl_username and secrets.saslPassword.existingSecret." $protocol) -}}
{{- end -}}
{{- else if $secrets.saslPassword.existingSecret -}}
{{- fail (printf "secrets.saslPassword.existingSecret is set and config.kafka.security_protocol is %s, which uses no password. Set it to SASL_SSL, or leave the Secret out." $protocol) -}}
{{- end -}}
{{- if and (not (has $protocol (list "SSL" "SASL_SSL"))) (or $secrets.kafkaCa.existingSecret $secrets.kafkaClientCertificate.existingSecret) -}}
{{- fail (printf "secrets.kafkaCa or secrets.kafkaClientCertificate is set and config.kafka.security_protocol is %s, which uses no certificates. Set it to SSL or SASL_SSL, or leave the Secrets out." $protocol) -}}
{{- end -}}
{{- if and $secrets.kafkaCa.existingSecret $config.kafka.ssl_cafile -}}
{{- fail "config.kafka.ssl_cafile and secrets.kafkaCa.existingSecret are both set. The Secret is mounted and sets the path by itself; leave one of them out." -}}
{{- end -}}
{{- if and $secrets.kafkaClientCertificate.existingSecret (or $config.kafka.ssl_certfile $config.kafka.ssl_keyfile) -}}
{{- fail "config.kafka.ssl_certfile or ssl_keyfile and secrets.kafkaClientCertificate.existingSecret are both set. The Secret is mounted and sets the paths by itself; leave one of them out." -}}
{{- end -}}
{{- end -}}
