package main

import data.lib.kubernetes
import rego.v1

# METADATA
# title: Images come from registries that the platform team vouches for
deny_registry contains msg if {
	some [_, container] in kubernetes.containers
	host := kubernetes.registry(container.image)
	not host in data.registries.allowed
	msg := sprintf("%s: container %q: images of %s are not allowed (allowed: %s)", [kubernetes.name, container.name, host, concat(", ", data.registries.allowed)])
}

# METADATA
# title: An image names a version
deny_image_tag contains msg if {
	some [_, container] in kubernetes.containers
	not contains(container.image, "@sha256:")
	reference := split(container.image, "/")
	tag := split(reference[count(reference) - 1], ":")
	floating(tag)
	msg := sprintf("%s: container %q: image %s floats; name a version", [kubernetes.name, container.name, container.image])
}

floating(tag) if count(tag) == 1

floating(tag) if tag[1] in {"latest", "stable", "main", "master"}

# METADATA
# title: An image is pinned by its digest
warn_image_digest contains msg if {
	some [_, container] in kubernetes.containers
	not regex.match(`@sha256:[0-9a-f]{64}$`, container.image)
	msg := sprintf("%s: container %q: image %s is not pinned by its digest", [kubernetes.name, container.name, container.image])
}
