{{- define "liqo.selector" -}}
app.kubernetes.io/name: controller-manager
app.kubernetes.io/instance: {{ .Release.Name }}-controller-manager
{{- end }}

{{- define "liqo.labels" -}}
{{ include "liqo.selector" . }}
app.kubernetes.io/part-of: liqo
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* The specification of a pod of a program. It ends with the variables, so that more can follow. */}}
{{- define "liqo.pod" -}}
{{- with .root.Values.global }}
nodeSelector: {{- toYaml .nodeSelector | nindent 2 }}
tolerations: {{- toYaml .tolerations | nindent 2 }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ .root.Values.registry }}/{{ .name }}:{{ .root.Chart.AppVersion }}
    env:
      - name: POD_NAMESPACE
        valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}
