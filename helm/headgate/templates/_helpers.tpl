{{/* Names are cut so that "<fullname>-worker-<10 digits>" and what the StatefulSet adds to it fit into a label. */}}
{{- define "headgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{- define "headgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else if contains (include "headgate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "headgate.name" .) | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "headgate.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What selects pods; it never changes, so nothing of a version is in it. Called with (list $ "worker"). */}}
{{- define "headgate.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "headgate.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The labels of pods: not the chart's version, so that a new chart alone restarts nothing. */}}
{{- define "headgate.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "headgate.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: headgate
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "headgate.labels" -}}
{{- $root := index . 0 -}}
{{ include "headgate.podLabels" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "headgate.serviceAccountName" -}}
{{- $account := .Values.serviceAccount -}}
{{- default (ternary (include "headgate.fullname" .) "default" $account.create) $account.name -}}
{{- end -}}

{{/* Whether a role runs: "true" or nothing. Called with (list $ "worker"). */}}
{{- define "headgate.runs" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- if or $values.enabled (and (eq (index . 1) "connectors") (or $values.sources $values.existingConfigMap)) -}}
true
{{- end -}}
{{- end -}}

{{/* The file of sources. Its name is theirs in Kafka: whoever declares sources takes out only what they declared. */}}
{{- define "headgate.sourcesFile" -}}
{{- printf "%s-%s.yaml" .Release.Namespace (include "headgate.fullname" .) -}}
{{- end -}}

{{/* What options of sources name as `{{ file.KEY }}`. Called with a list of Secrets. */}}
{{- define "headgate.sourceSecretsEnv" -}}
{{- if . }}
- name: HEADGATE_CONNECTORS_SECRETS
  value: /etc/headgate/secrets
{{- end }}
{{- end -}}

{{- define "headgate.sourceSecretsMount" -}}
{{- if . }}
- name: secrets
  mountPath: /etc/headgate/secrets
  readOnly: true
{{- end }}
{{- end -}}

{{- define "headgate.sourceSecretsVolume" -}}
{{- with . }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      - secret:
          name: {{ . }}
      {{- end }}
{{- end }}
{{- end -}}

{{/* `config` as environment variables. A value that is null is left out, so that the application's default holds. */}}
{{- define "headgate.config" -}}
{{- range $group, $fields := .Values.config }}
{{- range $field, $value := $fields }}
{{- if not (kindIs "invalid" $value) }}
HEADGATE_{{ upper $group }}_{{ upper $field }}: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "string" $value }}{{ quote $value }}{{ else }}{{ toJson $value | quote }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The variables of every role that speaks to Kafka and are no part of the ConfigMap. */}}
{{- define "headgate.kafkaEnv" -}}
{{- with .Values.secrets.saslPassword }}
{{- if .existingSecret }}
- name: HEADGATE_KAFKA_SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- if .Values.secrets.kafkaCa.existingSecret }}
- name: HEADGATE_KAFKA_SSL_CAFILE
  value: /etc/headgate/kafka-ca/ca.crt
{{- end }}
{{- if .Values.secrets.kafkaClientCertificate.existingSecret }}
- name: HEADGATE_KAFKA_SSL_CERTFILE
  value: /etc/headgate/kafka-client/tls.crt
- name: HEADGATE_KAFKA_SSL_KEYFILE
  value: /etc/headgate/kafka-client/tls.key
{{- end }}
{{- end -}}

{{- define "headgate.commonMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.secrets.kafkaCa.existingSecret }}
- name: kafka-ca
  mountPath: /etc/headgate/kafka-ca
  readOnly: true
{{- end }}
{{- if .Values.secrets.kafkaClientCertificate.existingSecret }}
- name: kafka-client
  mountPath: /etc/headgate/kafka-client
  readOnly: true
{{- end }}
{{- end -}}

{{- define "headgate.commonVolumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .tmpSize | default "1Gi" }}
{{- with .Values.secrets.kafkaCa }}
{{- if .existingSecret }}
- name: kafka-ca
  secret:
    secretName: {{ .existingSecret }}
    items:
      - key: {{ .key | quote }}
        path: ca.crt
{{- end }}
{{- end }}
{{- with .Values.secrets.kafkaClientCertificate }}
{{- if .existingSecret }}
- name: kafka-client
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      - key: {{ .certKey | quote }}
        path: tls.crt
      - key: {{ .keyKey | quote }}
        path: tls.key
{{- end }}
{{- end }}
{{- end -}}

{{/* The pod's side of the "restricted" security standard, the same for every role. The ids are those of the image. */}}
{{- define "headgate.podSecurity" -}}
automountServiceAccountToken: false
{{- /* The variables that Kubernetes makes of Services would mix with ours: HEADGATE_GATEWAY_PORT is one of both. */}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "headgate.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Where pods may run. Called with (list $ "worker" .Values.worker). */}}
{{- define "headgate.scheduling" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- with index . 2 }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .topologySpreadConstraints | nindent 2 }}
{{- else if ne $component "topics" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "headgate.selectorLabels" (list $root $component) | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Probes of our own endpoints. Called with the name of the port. Alive is not ready: a worker that restores, or
     waits for its partitions, must not be killed for it. */}}
{{- define "headgate.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: {{ . }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ . }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ . }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 3
{{- end -}}
