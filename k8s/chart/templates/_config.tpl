{{/* What the chart sets of the daemon's configuration, by the names of docs/reference/configuration.md; `config` wins. */}}
{{- define "statemesh.settings" -}}
{{- $listen := ternary "0.0.0.0" "::" (and (eq .Values.service.ipFamilyPolicy "SingleStack") (ne (first (concat .Values.service.ipFamilies (list ""))) "IPv6")) -}}
{{- $leave := sub (sub .Values.terminationGracePeriodSeconds .Values.preStopSeconds) 5 -}}
{{- $domain := printf "%s.%s.svc.%s." (include "statemesh.peers" .) .Release.Namespace .Values.clusterDomain -}}
{{- $settings := dict
  "mesh" (default (printf "%s.%s" .Release.Namespace (include "statemesh.fullname" .)) .Values.mesh)
  "partitions" .Values.partitions
  "leave_timeout" (printf "%ds" $leave)
  "listen.address" $listen
  "discovery.service" $domain
  "security.mode" .Values.security.mode -}}
{{- if include "statemesh.curve" . -}}
{{- $_ := set $settings "security.key" "/etc/statemesh/keys/daemon.key" -}}
{{- $_ := set $settings "security.keys" "/etc/statemesh/keys/clients.toml" -}}
{{- $_ := set $settings "gossip.keys_file" "/etc/statemesh/keys/gossip.keys" -}}
{{- end -}}
{{- $folders := list -}}
{{- if .Values.machines -}}
{{- $folders = append $folders "/etc/statemesh/machines" -}}
{{- end -}}
{{- range .Values.machineConfigMaps -}}
{{- $folders = append $folders (printf "/machines/%s" .) -}}
{{- end -}}
{{- if $folders -}}
{{- $_ := set $settings "machines" $folders -}}
{{- end -}}
{{- if .Values.http.tlsSecret -}}
{{- $_ := set $settings "http.tls_cert" "/etc/statemesh/tls/tls.crt" -}}
{{- $_ := set $settings "http.tls_key" "/etc/statemesh/tls/tls.key" -}}
{{- end -}}
{{- if gt (int .Values.reservedCores) 0 -}}
{{- $_ := set $settings "reactor.threads" .Values.reservedCores -}}
{{- $_ := set $settings "reactor.spin" "reserved" -}}
{{- end -}}
{{- toJson (mergeOverwrite $settings .Values.config) -}}
{{- end -}}

{{/* The same as TOML: dotted keys in alphabetical order. Helm reads every number as a float; whole ones are written whole. */}}
{{- define "statemesh.toml" -}}
{{- $settings := include "statemesh.settings" . | fromJson -}}
{{- range $key := keys $settings | sortAlpha }}
{{- $value := get $settings $key }}
{{ $key }} = {{ if kindIs "float64" $value }}{{ ternary (printf "%.0f" $value) (toString $value) (eq (floor $value) $value) }}{{ else }}{{ toJson $value }}{{ end }}
{{- end }}
{{- end -}}

{{/* Impossible values, in words; what a schema can say is in values.schema.json. */}}
{{- define "statemesh.validate" -}}
{{- if le (int (sub (sub .Values.terminationGracePeriodSeconds .Values.preStopSeconds) 5)) 0 -}}
{{- fail (printf "terminationGracePeriodSeconds is %v: it must be more than preStopSeconds (%v) and five seconds, or daemons cannot hand their instances over" .Values.terminationGracePeriodSeconds .Values.preStopSeconds) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (ne .Values.mode "statefulset") -}}
{{- fail "autoscaling.enabled needs mode: statefulset; a DaemonSet has a daemon on each node" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas is %v, more than autoscaling.maxReplicas, %v" .Values.autoscaling.minReplicas .Values.autoscaling.maxReplicas) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (eq (int .Values.autoscaling.cpuUtilization) 0) (eq (int .Values.autoscaling.eventsPerSecond) 0) -}}
{{- fail "autoscaling.enabled needs cpuUtilization or eventsPerSecond: by which of the two is to be scaled?" -}}
{{- end -}}
{{- if and .Values.security.existingSecret (ne .Values.security.mode "curve") -}}
{{- fail "security.existingSecret holds keys, which security.mode: none does not use: set security.mode: curve, or leave the Secret out" -}}
{{- end -}}
{{- range $name, $_ := .Values.machines -}}
{{- if not (hasSuffix ".json" $name) -}}
{{- fail (printf "machines: %q must end with .json" $name) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "name" "advertise" "security.mode" "listen.clients" "listen.changes" "listen.peers" "listen.gossip" "listen.http" "http.tokens" "gossip.keys" -}}
{{- if hasKey $.Values.config $key -}}
{{- fail (printf "config: %s is the chart's to set (see security, service and the pods' names in its README)" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
