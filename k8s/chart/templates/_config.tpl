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
{{- if gt (int64 .Values.machinesRevision) 0 -}}
{{- $_ := set $settings "machines_revision" (int64 .Values.machinesRevision) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.mode "statefulset" -}}
{{- /* Pods that start at once see each other's records at different moments: none of the first three begins a mesh of its own. */ -}}
{{- $pods := ternary .Values.autoscaling.minReplicas .Values.replicas .Values.autoscaling.enabled -}}
{{- $birth := list -}}
{{- range $index := until (int (min 3 (int $pods))) -}}
{{- $birth = append $birth (printf "%s-%d" (include "statemesh.fullname" $) $index) -}}
{{- end -}}
{{- $_ := set $settings "birth" $birth -}}
{{- end -}}
{{- if .Values.http.tlsSecret -}}
{{- $_ := set $settings "http.tls_cert" "/etc/statemesh/tls/tls.crt" -}}
{{- $_ := set $settings "http.tls_key" "/etc/statemesh/tls/tls.key" -}}
{{- end -}}
{{- if gt (int .Values.reservedCores) 0 -}}
{{- $_ := set $settings "reactor.threads" .Values.reservedCores -}}
{{- $_ := set $settings "reactor.spin" "reserved" -}}
{{- end -}}
{{- toJson (mergeOverwrite $settings (include "statemesh.given" . | fromJson)) -}}
{{- end -}}

{{/* `config` by dotted names, whether it was given so or as maps. */}}
{{- define "statemesh.given" -}}{{ include "statemesh.flat" (dict "map" .Values.config "prefix" "") }}{{- end -}}
{{- define "statemesh.flat" -}}
{{- $flat := dict -}}
{{- range $key, $value := .map -}}
{{- $name := printf "%s%s" $.prefix $key -}}
{{- if kindIs "map" $value -}}
{{- $flat = merge $flat (include "statemesh.flat" (dict "map" $value "prefix" (printf "%s." $name)) | fromJson) -}}
{{- else -}}
{{- $_ := set $flat $name $value -}}
{{- end -}}
{{- end -}}
{{- toJson $flat -}}
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
{{- if and .Values.service.loadBalancerSourceRanges (ne .Values.service.type "LoadBalancer") -}}
{{- fail (printf "service.loadBalancerSourceRanges needs service.type: LoadBalancer, not %s" .Values.service.type) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "statemesh.fullname" .)) -}}
{{- fail (printf "%q cannot be a Service's name: it must begin with a letter and have no dots; choose another release name, or set fullnameOverride" (include "statemesh.fullname" .)) -}}
{{- end -}}
{{- include "statemesh.sameKeys" . -}}
{{- range $name, $_ := .Values.machines -}}
{{- if not (hasSuffix ".json" $name) -}}
{{- fail (printf "machines: %q must end with .json" $name) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "name" "advertise" "security.mode" "listen.clients" "listen.changes" "listen.peers" "listen.gossip" "listen.http" "http.tokens" "gossip.keys" -}}
{{- if hasKey (include "statemesh.given" $ | fromJson) $key -}}
{{- fail (printf "config: %s is the chart's to set (see security, service and the pods' names in its README)" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Daemons with other gossip keys would be a mesh of their own, and what the old ones hold could not be handed over. */}}
{{- define "statemesh.sameKeys" -}}
{{- $kind := ternary "StatefulSet" "DaemonSet" (eq .Values.mode "statefulset") -}}
{{- $live := lookup "apps/v1" $kind .Release.Namespace (include "statemesh.fullname" .) | default dict -}}
{{- range $volume := dig "spec" "template" "spec" "volumes" list $live -}}
{{- range $source := dig "projected" "sources" list $volume -}}
{{- $was := dig "secret" "name" "" $source -}}
{{- if and $was (ne $was $.Values.http.tlsSecret) (ne $was (include "statemesh.secret" $)) (include "statemesh.curve" $) -}}
{{- $old := dig "data" "gossip.keys" "" (lookup "v1" "Secret" $.Release.Namespace $was | default dict) -}}
{{- $new := dig "data" "gossip.keys" "" (lookup "v1" "Secret" $.Release.Namespace (include "statemesh.secret" $) | default dict) -}}
{{- if and $old (ne $old $new) -}}
{{- fail (printf "the running daemons have their keys from the Secret %s, and %s has other gossip keys: new daemons would not be let into the mesh. Copy the entries of the one into the other first (docs/how-to/kubernetes/keys.md)" $was (include "statemesh.secret" $)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
