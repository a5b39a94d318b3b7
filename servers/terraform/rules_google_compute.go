package main

import (
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// googleCompute are the rules for networks, machines and functions of Google Cloud.
func googleCompute() []Rule {
	firewalls := []string{"google_compute_firewall"}
	machines := []string{"google_compute_instance", "google_compute_instance_template", "google_compute_region_instance_template", "google_compute_instance_from_template"}
	const whyOpen = "It is found and attacked within minutes by whoever scans the internet."
	return []Rule{
		{
			ID: "google/firewall-ssh-open", Title: "do not open SSH to everybody", Severity: finding.High,
			Types: firewalls, References: []string{"CIS Google Cloud 2.0.0 3.6", "CKV_GCP_2", "GCP-0071"},
			Why: whyOpen, Fix: "set source_ranges to the addresses that need it, or use Identity-Aware Proxy (35.235.240.0/20)",
			Check: closedToWorld(googleFirewallIngress, ssh()),
		},
		{
			ID: "google/firewall-rdp-open", Title: "do not open RDP to everybody", Severity: finding.High,
			Types: firewalls, References: []string{"CIS Google Cloud 2.0.0 3.7", "CKV_GCP_3", "GCP-0070"},
			Why: whyOpen, Fix: "set source_ranges to the addresses that need it, or use Identity-Aware Proxy (35.235.240.0/20)",
			Check: closedToWorld(googleFirewallIngress, rdp()),
		},
		{
			ID: "google/firewall-all-open", Title: "do not open every port to everybody", Severity: finding.Critical,
			Types: firewalls, References: []string{"GCP-0027"},
			Why: "Whatever listens, now or later, can be reached from the internet.", Fix: "name the ports and the addresses that need them",
			Check: closedToWorld(googleFirewallIngress, everyPort()),
		},
		{
			ID: "google/firewall-database-open", Title: "do not open databases to everybody", Severity: finding.High,
			Types: firewalls, References: []string{"CKV_GCP_88"},
			Why: whyOpen, Fix: "name the addresses or tags that need it",
			Check: closedToWorld(googleFirewallIngress, databasePorts()...),
		},
		{
			ID: "google/default-network", Title: "make no default network", Severity: finding.Medium,
			Types: []string{"google_project"}, References: []string{"CIS Google Cloud 2.0.0 3.1", "CKV_GCP_27", "GCP-0010"},
			Why:   "It has firewall rules that let everybody in by SSH and RDP.",
			Fix:   "set auto_create_network = false",
			Check: isOff("auto_create_network", true),
		},
		{
			ID: "google/subnet-flow-logs", Title: "log what goes through subnetworks", Severity: finding.Low,
			Types: []string{"google_compute_subnetwork"}, References: []string{"CIS Google Cloud 2.0.0 3.8", "CKV_GCP_26", "GCP-0029"},
			Why:   "Without flow logs, what an intruder reached cannot be told. Subnetworks of proxies and of Private Service Connect have none.",
			Fix:   "add log_config",
			Check: when(isOneOf("purpose", "PRIVATE", "PRIVATE"), hasBlock("log_config")),
		},
		{
			ID: "google/subnet-private-access", Title: "reach Google's services without a public address", Severity: finding.Low,
			Types: []string{"google_compute_subnetwork"}, References: []string{"CKV_GCP_74"},
			Why:   "Machines get public addresses just to reach Google's services without it.",
			Fix:   "set private_ip_google_access = true",
			Check: when(isOneOf("purpose", "PRIVATE", "PRIVATE"), isOn("private_ip_google_access", false)),
		},
		{
			ID: "google/ssl-policy", Title: "refuse old TLS at load balancers", Severity: finding.High,
			Types: []string{"google_compute_ssl_policy", "google_compute_region_ssl_policy"}, References: []string{"CIS Google Cloud 2.0.0 3.9", "CKV_GCP_4", "GCP-0039"},
			Why:   "TLS 1.0 and 1.1 have known attacks, and are allowed by default.",
			Fix:   "set min_tls_version = \"TLS_1_2\"",
			Check: isOneOf("min_tls_version", "TLS_1_0", "TLS_1_2", "TLS_1_3"),
		},
		{
			ID: "google/dns-dnssec", Title: "sign public zones", Severity: finding.Medium,
			Types: []string{"google_dns_managed_zone"}, References: []string{"CIS Google Cloud 2.0.0 3.3", "CKV_GCP_16", "GCP-0013"},
			Why:   "Answers can be forged on the way without signatures.",
			Fix:   "set dnssec_config.state = \"on\"",
			Check: when(isOneOf("visibility", "public", "public"), isOneOf("dnssec_config.state", "off", "on", "transfer")),
		},
		{
			ID: "google/dns-sha1", Title: "sign zones without SHA-1", Severity: finding.Medium,
			Types: []string{"google_dns_managed_zone"}, References: []string{"CIS Google Cloud 2.0.0 3.4", "CKV_GCP_17", "GCP-0012"},
			Why:   "SHA-1 has known collisions.",
			Fix:   "set default_key_specs.algorithm = \"ecdsap256sha256\" or \"rsasha256\"",
			Check: inEach("dnssec_config.default_key_specs", isNoneOf("algorithm", "", "rsasha1")),
		},
		{
			ID: "google/instance-public-ip", Title: "give machines no public address", Severity: finding.High,
			Types: machines, References: []string{"CIS Google Cloud 2.0.0 4.9", "CKV_GCP_40", "GCP-0031"},
			Why:   "What listens on the machine can be reached from the internet.",
			Fix:   "remove access_config and ipv6_access_config, and put a load balancer or Cloud NAT in front",
			Check: inEach("network_interface", allOf(lacksBlock("access_config"), lacksBlock("ipv6_access_config"))),
		},
		{
			ID: "google/instance-default-account", Title: "give machines a service account of their own", Severity: finding.High,
			Types: machines, References: []string{"CIS Google Cloud 2.0.0 4.1", "CKV_GCP_30", "GCP-0044"},
			Why:   "The default account may edit the whole project, unless the organisation forbids it.",
			Fix:   "set service_account.email to an account with the roles that are needed",
			Check: inEach("service_account", ownAccount("email")),
		},
		{
			ID: "google/instance-full-scope", Title: "give the default account no full access", Severity: finding.High,
			Types: machines, References: []string{"CIS Google Cloud 2.0.0 4.2"},
			Why:   "With that scope, a machine with the default account may do in every service what the account may.",
			Fix:   "use an account of the machine's own, or name the scopes that are needed",
			Check: inEach("service_account", anyOf(ownAccount("email"), holdsNone("scopes", isFullScope))),
		},
		{
			ID: "google/instance-ssh-keys", Title: "block SSH keys of the project", Severity: finding.Medium,
			Types: machines, References: []string{"CIS Google Cloud 2.0.0 4.3", "CKV_GCP_32", "GCP-0030"},
			Why:   "One key that leaked opens every machine of the project.",
			Fix:   "set metadata.block-project-ssh-keys = \"true\"",
			Check: metadata("block-project-ssh-keys", "false", "true", "y", "yes", "1"),
		},
		{
			ID: "google/instance-os-login", Title: "leave OS Login on", Severity: finding.Medium,
			Types: machines, References: []string{"CKV_GCP_34", "GCP-0036"},
			Why:   "Whoever may set the machine's metadata lets people in, past IAM.",
			Fix:   "remove enable-oslogin from metadata, or set it to TRUE",
			Check: metadata("enable-oslogin", "true", "true", "y", "yes", "1"),
		},
		{
			ID: "google/project-os-login", Title: "log in to machines by IAM", Severity: finding.Medium,
			Types: []string{"google_compute_project_metadata"}, References: []string{"CIS Google Cloud 2.0.0 4.4", "CKV_GCP_33", "GCP-0042"},
			Why:   "Keys in metadata are shared, do not expire, and nobody sees who used them.",
			Fix:   "set metadata.enable-oslogin = \"TRUE\"",
			Check: metadata("enable-oslogin", "false", "true", "y", "yes", "1"),
		},
		{
			ID: "google/instance-serial-port", Title: "close the serial console", Severity: finding.Medium,
			Types: machines, References: []string{"CIS Google Cloud 2.0.0 4.5", "CKV_GCP_35", "GCP-0032"},
			Why:   "It is reached from everywhere, past the firewall.",
			Fix:   "remove serial-port-enable from metadata, or set it to FALSE",
			Check: metadata("serial-port-enable", "false", "false", "n", "no", "0"),
		},
		{
			ID: "google/instance-ip-forwarding", Title: "let machines forward no packets", Severity: finding.High,
			Types: machines, References: []string{"CIS Google Cloud 2.0.0 4.6", "CKV_GCP_36", "GCP-0043"},
			Why:   "It can send as others, and pass traffic around the firewall.",
			Fix:   "set can_ip_forward = false, unless it is a router",
			Check: isOff("can_ip_forward", false),
		},
		{
			ID: "google/instance-secure-boot", Title: "boot what is signed", Severity: finding.Medium,
			Types: machines, References: []string{"GCP-0067"},
			Why:   "A changed boot loader or kernel starts unseen. Secure Boot is off by default.",
			Fix:   "set shielded_instance_config.enable_secure_boot = true",
			Check: isOn("shielded_instance_config.enable_secure_boot", false),
		},
		{
			ID: "google/instance-shielded", Title: "leave vTPM and integrity monitoring on", Severity: finding.Medium,
			Types: machines, References: []string{"CIS Google Cloud 2.0.0 4.8", "CKV_GCP_39", "GCP-0041", "GCP-0045"},
			Why:   "Without them nobody notices that a machine boots something else than before.",
			Fix:   "remove enable_vtpm and enable_integrity_monitoring, or set them to true",
			Check: allOf(isOn("shielded_instance_config.enable_vtpm", true), isOn("shielded_instance_config.enable_integrity_monitoring", true)),
		},
		{
			ID: "google/instance-metadata-secrets", Title: "keep secrets out of metadata", Severity: finding.Critical,
			Types: machines, References: []string{"https://cloud.google.com/compute/docs/metadata/overview"},
			Why:   "Every process on the machine, and whoever may look at it, can read metadata and startup scripts.",
			Fix:   "read the secret from Secret Manager when the machine starts",
			Check: holdsNoSecret("metadata_startup_script", "metadata"),
		},
		{
			ID: "google/disk-key", Title: "encrypt disks with your own key", Severity: finding.Low,
			Types: []string{"google_compute_disk", "google_compute_region_disk"}, References: []string{"CIS Google Cloud 2.0.0 4.7", "CKV_GCP_37", "GCP-0034"},
			Why:   "Google encrypts every disk; with your own key, access can be withdrawn and each use is logged.",
			Fix:   "set disk_encryption_key.kms_key_self_link",
			Check: anyOf(isSet("disk_encryption_key.raw_key"), isSet("disk_encryption_key.rsa_encrypted_key"), isSet("disk_encryption_key.kms_key_self_link")),
		},
		{
			ID: "google/disk-plain-key", Title: "write no disk keys down", Severity: finding.Critical,
			Types: []string{"google_compute_disk", "google_compute_region_disk", "google_compute_instance"}, References: []string{"GCP-0037"},
			Why:   "Whoever can read the code or the state can read the disk.",
			Fix:   "use kms_key_self_link",
			Check: allOf(notLiteral("disk_encryption_key.raw_key", "boot_disk.disk_encryption_key_raw"), inEach("attached_disk", notLiteral("disk_encryption_key_raw"))),
		},
		{
			ID: "google/function-ingress", Title: "let named callers reach functions", Severity: finding.Medium,
			Types: []string{"google_cloudfunctions_function", "google_cloudfunctions2_function"}, References: []string{"CKV_GCP_124"},
			Why:   "The function can be reached from the internet by default.",
			Fix:   "set ingress_settings = \"ALLOW_INTERNAL_AND_GCLB\" or \"ALLOW_INTERNAL_ONLY\"",
			Check: ofType("google_cloudfunctions2_function", isNoneOf("service_config.ingress_settings", "ALLOW_ALL", "ALLOW_ALL"), when(isOn("trigger_http", false), isNoneOf("ingress_settings", "ALLOW_ALL", "ALLOW_ALL"))),
		},
		{
			ID: "google/notebook-public-ip", Title: "give notebooks no public address", Severity: finding.High,
			Types: []string{"google_notebooks_instance", "google_workbench_instance"}, References: []string{"CKV_GCP_89"},
			Why:   "What listens on the notebook can be reached from the internet.",
			Fix:   "set no_public_ip = true (google_workbench_instance: gce_setup.disable_public_ip = true)",
			Check: ofType("google_workbench_instance", isOn("gce_setup.disable_public_ip", false), isOn("no_public_ip", false)),
		},
	}
}

// ownAccount demands a service account that is not the default one, which it is without a name.
func ownAccount(path string) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		if text, ok := v.Text(); v.empty() || ok && text == "default" {
			return v.unset("the default account")
		}
		return isDefault(v)
	}
}

// isFullScope says whether an access scope, in full or in short, is that for everything.
func isFullScope(scope string) bool {
	return slices.Contains([]string{"cloud-platform", "https://www.googleapis.com/auth/cloud-platform"}, strings.TrimSpace(scope))
}
