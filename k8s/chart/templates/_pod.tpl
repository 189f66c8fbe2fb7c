{{/* The pod of both workloads. */}}
{{- define "statemesh.pod" -}}
metadata:
  labels:
    {{- include "statemesh.labels" . | nindent 4 }}
    app.kubernetes.io/component: daemon
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include (print $.Template.BasePath "/configmap.yaml") . | sha256sum }}
    {{- if .Values.metrics.annotations }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "7480"
    prometheus.io/path: /metrics
    {{- if .Values.http.tlsSecret }}
    prometheus.io/scheme: https
    {{- end }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "statemesh.serviceAccount" . }}
  automountServiceAccountToken: false
  # A Service named `statemesh` would give pods variables that look like settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext: {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.affinity }}
  affinity: {{- toYaml .Values.affinity | nindent 4 }}
  {{- else if eq .Values.mode "statefulset" }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels: {{- include "statemesh.selectorLabels" . | nindent 16 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if eq .Values.mode "statefulset" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "statemesh.selectorLabels" . | nindent 10 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .Values.schedulerName }}
  schedulerName: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: statemesh
      image: {{ include "statemesh.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [daemon]
      # What it said last is then in `kubectl describe pod`.
      terminationMessagePolicy: FallbackToLogsOnError
      env:
        - name: STATEMESH_NAME
          valueFrom:
            fieldRef:
              fieldPath: {{ ternary "metadata.name" "spec.nodeName" (eq .Values.mode "statefulset") }}
        - name: STATEMESH_ADVERTISE
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        {{- if include "statemesh.curve" . }}
        - name: STATEMESH_HTTP_TOKENS
          valueFrom:
            secretKeyRef:
              name: {{ include "statemesh.secret" . }}
              key: http.token
        # For the command line in this pod: kubectl exec ... -- statemesh members
        - name: STATEMESH_KEY
          value: /etc/statemesh/keys/admin.key
        - name: STATEMESH_SERVER_KEY
          valueFrom:
            secretKeyRef:
              name: {{ include "statemesh.secret" . }}
              key: daemon.pub
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: clients, containerPort: 7400}
        - {name: changes, containerPort: 7401}
        - {name: peers, containerPort: 7402}
        - {name: gossip, containerPort: 7403, protocol: UDP}
        - {name: http, containerPort: 7480}
      # Starting: the process is not up yet. Ready: it has joined and does not leave. Live: it answers at all.
      startupProbe:
        httpGet: {{- include "statemesh.probe" (list . "/health/live") | nindent 10 }}
        periodSeconds: 1
        failureThreshold: {{ .Values.probes.startupSeconds }}
      readinessProbe:
        httpGet: {{- include "statemesh.probe" (list . "/health/ready") | nindent 10 }}
        periodSeconds: {{ .Values.probes.readinessPeriodSeconds }}
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: {{- include "statemesh.probe" (list . "/health/live") | nindent 10 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: {{ div (add .Values.probes.livenessSeconds 9) 10 }}
      {{- if .Values.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .Values.preStopSeconds }}
      {{- end }}
      resources: {{- include "statemesh.resources" . | nindent 8 }}
      securityContext: {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: configuration
          mountPath: /etc/statemesh
          readOnly: true
        {{- range $index, $name := .Values.machineConfigMaps }}
        - name: machines-{{ $index }}
          mountPath: /machines/{{ $name }}
          readOnly: true
        {{- end }}
        {{- if and (eq .Values.mode "statefulset") .Values.persistence.enabled }}
        - name: data
          mountPath: /var/lib/statemesh
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: configuration
      projected:
        defaultMode: 0440
        sources:
          - configMap:
              name: {{ include "statemesh.fullname" . }}
              items:
                - {key: statemesh.toml, path: statemesh.toml}
                {{- range $name, $_ := .Values.machines }}
                - {key: {{ $name | quote }}, path: {{ printf "machines/%s" $name | quote }}}
                {{- end }}
          {{- if include "statemesh.curve" . }}
          - secret:
              name: {{ include "statemesh.secret" . }}
              items:
                {{- range list "daemon.key" "clients.toml" "gossip.keys" }}
                - {key: {{ . }}, path: keys/{{ . }}}
                {{- end }}
          # A Secret without admin's key must not keep daemons from starting.
          - secret:
              name: {{ include "statemesh.secret" . }}
              optional: true
              items:
                - {key: admin.key, path: keys/admin.key}
          {{- end }}
          {{- with .Values.http.tlsSecret }}
          - secret:
              name: {{ . }}
              items:
                - {key: tls.crt, path: tls/tls.crt}
                - {key: tls.key, path: tls/tls.key}
          {{- end }}
    {{- range $index, $name := .Values.machineConfigMaps }}
    - name: machines-{{ $index }}
      configMap:
        name: {{ $name }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "statemesh.probe" -}}
{{- $ := index . 0 -}}
path: {{ index . 1 }}
port: http
{{- if $.Values.http.tlsSecret }}
scheme: HTTPS
{{- end }}
{{- end -}}

{{/* With reserved cores requests equal limits, in whole cores: what the kubelet's static CPU manager asks for. */}}
{{- define "statemesh.resources" -}}
{{- if gt (int .Values.reservedCores) 0 -}}
{{- $limits := merge (dict "cpu" (toString (add .Values.reservedCores 1))) (dig "limits" dict .Values.resources) -}}
{{- $all := merge $limits (dig "requests" dict .Values.resources) -}}
{{ toYaml (dict "requests" $all "limits" $all) }}
{{- else -}}
{{ toYaml .Values.resources }}
{{- end -}}
{{- end -}}
