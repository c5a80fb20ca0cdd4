"""The Kubernetes manifests and the compose file."""

import re
import tempfile
from pathlib import Path

import kubernetes_validate

from .common import must, need, program, read_toml, read_yaml, seconds, skipped

# Keys of the custom resources, read off their documentation (KEDA 2.19, Prometheus operator 0.85): no registry ships their schemas.
SCALED_OBJECT = {
    "scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "idleReplicaCount", "minReplicaCount",
    "maxReplicaCount", "fallback", "advanced", "triggers",
}  # fmt: skip
JETSTREAM_TRIGGER = {
    "natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold", "activationLagThreshold", "useHttps",
}  # fmt: skip
SERVICE_MONITOR = {"selector", "namespaceSelector", "jobLabel", "targetLabels", "podTargetLabels", "endpoints"}
ENDPOINT = {"port", "targetPort", "path", "interval", "scrapeTimeout", "scheme", "honorLabels", "relabelings", "metricRelabelings"}


def check_custom(where: str, resource: dict) -> None:
    """Key lists of the kinds that the schemas do not know."""
    spec = resource["spec"]
    if resource["kind"] == "ScaledObject":
        need(resource["apiVersion"] == "keda.sh/v1alpha1" and set(spec) <= SCALED_OBJECT, f"{where}: {set(spec) - SCALED_OBJECT}")
        need(set(spec["advanced"]) <= {"restoreToOriginalReplicaCount", "horizontalPodAutoscalerConfig"} , f"{where}: advanced")
        for trigger in spec["triggers"]:
            need(trigger["type"] == "nats-jetstream", f"{where}: trigger {trigger['type']}")
            keys = set(trigger["metadata"])
            need(keys <= JETSTREAM_TRIGGER, f"{where}: no such metadata: {sorted(keys - JETSTREAM_TRIGGER)}")
            missing = JETSTREAM_TRIGGER - {"activationLagThreshold", "useHttps"} - keys
            need(not missing, f"{where}: metadata lacks {sorted(missing)}")
            need(all(isinstance(value, str) for value in trigger["metadata"].values()), f"{where}: metadata are strings")
    else:
        need(resource["kind"] == "ServiceMonitor", f"{where}: kind {resource['kind']}")
        need(resource["apiVersion"] == "monitoring.coreos.com/v1" and set(spec) <= SERVICE_MONITOR, f"{where}: {sorted(spec)}")
        for endpoint in spec["endpoints"]:
            need(set(endpoint) <= ENDPOINT, f"{where}: {sorted(set(endpoint) - ENDPOINT)}")


def check_schema(where: str, resource: dict) -> None:
    """Held to the schema of the newest Kubernetes, unknown keys refused."""
    if resource["apiVersion"].split("/")[0] in ("keda.sh", "monitoring.coreos.com"):
        check_custom(where, resource)
        return
    try:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        need(False, f"{where}: {getattr(error, 'message', error)}")


def check_pod(resources: dict, settings: dict, secret: dict) -> None:
    """The Deployment against what it refers to, and the restricted security standard."""
    deployment = resources["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    labels = deployment["template"]["metadata"]["labels"].items()
    selectors = {
        "Deployment": deployment["selector"]["matchLabels"],
        "Service": resources["Service"]["spec"]["selector"],
        "PodDisruptionBudget": resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    }
    for kind, selector in selectors.items():
        need(selector.items() <= labels, f"{kind}: its selector does not meet the pod's labels")
    monitored = resources["ServiceMonitor"]["spec"]
    need(monitored["selector"]["matchLabels"].items() <= resources["Service"]["metadata"]["labels"].items(), "ServiceMonitor")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    need(f":{ports['http']}" in settings["http"]["listen"], "Deployment: the port is not that of [http] listen")
    need(not settings["http"]["listen"].startswith("127."), "stillair.toml: probes cannot reach loopback")
    for name, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        probe = container[name]["httpGet"]
        need(probe["path"] == path and probe["port"] in ports, f"Deployment: {name} asks {probe}")
    for port in resources["Service"]["spec"]["ports"]:
        need(port["targetPort"] in ports, f"Service: no port {port['targetPort']} in the pod")
    names = {port["name"] for port in resources["Service"]["spec"]["ports"]}
    need(all(endpoint["port"] in names for endpoint in monitored["endpoints"]), "ServiceMonitor: no such port in the Service")
    grace = pod["terminationGracePeriodSeconds"]
    need(grace > settings["serve"]["grace_s"], f"Deployment: {grace} s to end, not above [serve] grace_s")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    need(set(mounts.values()) == set(volumes), f"Deployment: volumes {sorted(volumes)}, mounted {sorted(mounts.values())}")
    for section, key in (("output", "directory"), ("fetch", "staging")):
        place = settings[section][key]
        need(place in mounts, f"Deployment: nothing is mounted at [{section}] {key} = {place}")
    claim = volumes["archive"]["persistentVolumeClaim"]["claimName"]
    need(claim == resources["PersistentVolumeClaim"]["metadata"]["name"], f"Deployment: no claim {claim}")
    password = Path(settings["bus"]["password_file"])
    given = volumes[mounts[str(password.parent)]]["secret"]
    need(any(item["path"] == password.name for item in given["items"]), f"Deployment: no secret at {password}")
    need(all(item["key"] in secret["stringData"] for item in given["items"]), "secret.example.yaml lacks a key of the Deployment")
    need(given["secretName"] == secret["metadata"]["name"], "secret.example.yaml has another name")
    need(pod["securityContext"]["runAsNonRoot"] is True, "Deployment: may run as root")
    need(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "Deployment: no seccomp profile")
    need({"name": "ORT_DISABLE_TELEMETRY", "value": "1"} in container["env"], "Deployment: ONNX Runtime would report its use")
    inside = container["securityContext"]
    need(inside["allowPrivilegeEscalation"] is False and inside["readOnlyRootFilesystem"] is True, "Deployment: securityContext")
    need(inside["capabilities"] == {"drop": ["ALL"]}, "Deployment: capabilities")
    need("memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"], "Deployment: resources")
    need("replicas" not in deployment, "Deployment: replicas would fight with KEDA")


def check_kubernetes(root: Path) -> None:
    """Manifests: schemas, references, the GPU overlay; KEDA against the NATS configuration."""
    base, gpu = root / "deploy/kubernetes/base", root / "deploy/kubernetes/gpu"
    (kustomization,) = read_yaml(base / "kustomization.yaml")
    present = {file.name for file in base.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    need(set(kustomization["resources"]) == present, f"kustomization: lists {sorted(kustomization['resources'])}, there are {sorted(present)}")
    resources = {}
    for name in kustomization["resources"]:
        for resource in read_yaml(base / name):
            check_schema(name, resource)
            resources[resource["kind"]] = resource
    (secret,) = read_yaml(base / "secret.example.yaml")
    check_schema("secret.example.yaml", secret)
    (generator,) = kustomization["configMapGenerator"]
    need(generator["files"] == ["stillair.toml"] and (base / "stillair.toml").exists(), "kustomization: configuration file")
    check_pod(resources, read_toml(base / "stillair.toml"), secret)

    accounts = re.findall(r"^  (\w+) \{$", (root / "deploy/nats/nats-server.conf").read_text(), re.M)
    settings = read_toml(root / "deploy/stillair.toml")["bus"]
    (overlay,) = read_yaml(gpu / "scaledobject.yaml")
    check_custom("gpu/scaledobject.yaml", {**overlay, "spec": {"advanced": {}, **overlay["spec"]}})
    for scaled in (resources["ScaledObject"], overlay):
        need(scaled["spec"]["scaleTargetRef"]["name"] == "stillair" if "scaleTargetRef" in scaled["spec"] else True, "ScaledObject")
        for trigger in scaled["spec"]["triggers"]:
            said = trigger["metadata"]
            need(said["account"] in accounts, f"ScaledObject: no account {said['account']} in nats-server.conf")
            need(said["stream"] == settings["exposures_stream"], f"ScaledObject: stream {said['stream']}")
            need(said["consumer"] == settings["consumer"], f"ScaledObject: consumer {said['consumer']}")
            need(int(said["lagThreshold"]) > 0, "ScaledObject: lagThreshold")
    for patch in read_yaml(gpu / "kustomization.yaml")[0]["patches"]:
        need((gpu / patch["path"]).exists(), f"gpu: no {patch['path']}")

    kubectl = program("kubectl")
    if not kubectl:
        skipped("the overlay is not rendered without kubectl")
        return
    for folder in (base, gpu):
        rendered = must(kubectl, "kustomize", folder)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(rendered)
            file.flush()
            made = read_yaml(Path(file.name))
        for resource in made:
            check_schema(f"{folder.name}: {resource['kind']}", resource)
        kinds = {resource["kind"]: resource for resource in made}
        mounted = kinds["Deployment"]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
        need(mounted == kinds["ConfigMap"]["metadata"]["name"], f"{folder.name}: the pod mounts {mounted}")
    (container,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    need("nvidia.com/gpu" in container["resources"]["limits"], "gpu: no GPU asked for")
    need({"name": "STILLAIR__NETWORK__DEVICE", "value": "cuda"} in container["env"], "gpu: the network does not run on CUDA")


def check_compose(root: Path) -> None:
    """compose.yaml: the compose specification's schema, files that exist, names that agree."""
    folder = root / "deploy/compose"
    checker = program("check-jsonschema")
    if checker:
        must(checker, "--builtin-schema", "vendor.compose-spec", folder / "compose.yaml")
    (compose,) = read_yaml(folder / "compose.yaml")
    services = compose["services"]
    for name, service in services.items():
        need("build" in service or re.search(r":v?\d+\.\d+\.\d+", service["image"]), f"compose: {name}: image not pinned")
        for port in service.get("ports", []):
            need(port.startswith("127.0.0.1:"), f"compose: {name}: port {port} is open to the network")
        for mount in service.get("volumes", []):
            source = re.match(r"(\$\{\w+:-[^}]*\}|[^:]+):", mount)[1]
            if source.startswith("."):
                need((folder / source).exists(), f"compose: {name}: no {source}")
            elif not source.startswith("$"):
                need(source in compose["volumes"], f"compose: {name}: no volume {source}")
        for other in service.get("depends_on", []):
            need(other in services, f"compose: {name} depends on {other}")
            waits = isinstance(service["depends_on"], dict) and service["depends_on"][other]["condition"] == "service_healthy"
            need(not waits or "healthcheck" in services[other], f"compose: {other} has no health check")
        if "build" in service:
            context = (folder / service["build"]["context"]).resolve()
            need(context == root.resolve() and (context / service["build"]["dockerfile"]).exists(), f"compose: {name}: build")
    text = (folder / "compose.yaml").read_text()
    given = set(re.findall(r"^(\w+)=", (folder / "example.env").read_text(), re.M))
    wanted = set(re.findall(r"\$\{(\w+)", text))
    need(given == wanted, f"example.env sets {sorted(given)}, compose.yaml asks for {sorted(wanted)}")
    secrets = set(re.findall(r"password: \$(\w+)", (root / "deploy/nats/nats-server.conf").read_text()))
    need(secrets == set(services["nats"]["environment"]), f"compose: nats is given {sorted(services['nats']['environment'])}")
    grace = read_toml(root / "deploy/stillair.toml")["serve"]["grace_s"]
    need(seconds(services["stillair"]["stop_grace_period"]) > grace, "compose: stop_grace_period is not above grace_s")
    (prometheus,) = read_yaml(root / "deploy/prometheus/prometheus.yml")
    for job in prometheus["scrape_configs"]:
        for target in [target for static in job["static_configs"] for target in static["targets"]]:
            need(target.split(":")[0] in services, f"prometheus.yml: no service {target} in compose.yaml")
    (source,) = read_yaml(root / "deploy/grafana/provisioning/datasources/prometheus.yaml")
    need(re.match(r"http://(\w+):", source["datasources"][0]["url"])[1] in services, "grafana: no such data source")
    (provider,) = read_yaml(root / "deploy/grafana/provisioning/dashboards/stillair.yaml")
    path = provider["providers"][0]["options"]["path"]
    need(any(f":{path}/stillair.json" in mount for mount in services["grafana"]["volumes"]), f"compose: no dashboard in {path}")
