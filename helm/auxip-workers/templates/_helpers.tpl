{{- define "auxip.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The next templates take a dict: root, the chart's context, and component, what the object is. */}}

{{/* Seconds that a step may take: so long the pods of queues wait whose steps lose work when they are handed back. */}}
{{- define "auxip.stepTimeout" -}}
{{- get .Values.settings "AUXIP_STEP_TIMEOUT" | default 1800 | float64 | ceil | int -}}
{{- end -}}

{{- define "auxip.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "auxip.metadata" -}}
name: {{ include "auxip.name" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "auxip.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "auxip.podMetadata" -}}
labels:
  {{- include "auxip.selector" . | nindent 2 }}
  {{- with .root.Values.pods.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  {{- with .root.Values.pods.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  checksum/config: {{ include (print .root.Template.BasePath "/config.yaml") .root | sha256sum }}
{{- end -}}

{{- define "auxip.podSpec" -}}
serviceAccountName: {{ include "auxip.name" .root }}-workers
automountServiceAccountToken: false
# Kubernetes sets variables named for each Service of the namespace; the settings and Flower would take some for theirs.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace | default .root.Values.terminationGracePeriodSeconds }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.pods.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "auxip.selector" . | nindent 8 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: {{ .root.Values.pods.tmpSize }}
  - name: state
    emptyDir:
      sizeLimit: 64Mi
  - name: secrets
    secret:
      secretName: {{ required "existingSecret must name a Secret with auxip_redis_url, auxip_s3_access_key_id and auxip_s3_secret_access_key: see values.yaml" .root.Values.existingSecret }}
      defaultMode: 0440
  - name: files
    configMap:
      name: {{ include "auxip.name" .root }}-files
{{- with .root.Values.pods.caBundle }}
  - name: ca-bundle
    configMap:
      name: {{ . }}
{{- end }}
{{- with .root.Values.pods.extraVolumes }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "auxip.container" -}}
{{- with .root.Values.image }}
image: "{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.root.Chart.AppVersion }}{{ end }}"
{{- end }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
envFrom:
  - configMapRef:
      name: {{ include "auxip.name" .root }}-settings
{{- if or .root.Values.pods.caBundle .root.Values.pods.extraEnv .env }}
env:
  {{- with .root.Values.pods.caBundle }}
  - name: SSL_CERT_FILE
    value: /etc/auxip-ca/ca.crt
  {{- end }}
  {{- with .env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .root.Values.pods.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: state
    mountPath: /var/lib/auxip
  - name: secrets
    mountPath: /run/secrets
    readOnly: true
  - name: files
    mountPath: /etc/auxip
    readOnly: true
{{- if .root.Values.pods.caBundle }}
  - name: ca-bundle
    mountPath: /etc/auxip-ca
    readOnly: true
{{- end }}
{{- with .root.Values.pods.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Probes of a queue's worker or of beat, by the files that they touch. A broker that is away, or a cancelled consumer,
makes the pod not ready and restarts nothing.
*/}}
{{- define "auxip.probes" -}}
{{- $find := "find /tmp -maxdepth 1 -name 'auxip-*.%s' -mmin -2 | grep -q ." }}
readinessProbe:
  exec:
    command: [sh, -c, {{ printf $find "ready" | quote }}]
  initialDelaySeconds: 5
  timeoutSeconds: 10
livenessProbe:
  exec:
    command: [sh, -c, {{ printf $find "alive" | quote }}]
  initialDelaySeconds: 60
  periodSeconds: 60
  timeoutSeconds: 10
  failureThreshold: 5
{{- end -}}
