package main

import (
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// awsStorage are the rules for S3, EBS and EFS.
func awsStorage() []Rule {
	buckets := []string{"aws_s3_bucket"}
	deniesHTTP := policyHas("policy", "no statement denies requests where aws:SecureTransport is false", deniesPlainHTTP)
	blocks := []string{"aws_s3_bucket_public_access_block", "aws_s3_account_public_access_block"}
	return []Rule{
		{
			ID: "aws/s3-public-acl", Title: "give S3 buckets and objects no public ACL", Severity: finding.High,
			Types: []string{"aws_s3_bucket", "aws_s3_bucket_acl", "aws_s3_object"}, References: []string{"CKV_AWS_20", "CKV_AWS_57", "AWS-0092"},
			Why:   "A public ACL lets anybody list, read or write what is in the bucket.",
			Fix:   "set acl to private, or remove it, and let a policy or CloudFront give access",
			Check: allOf(isNoneOf("acl", "private", "public-read", "public-read-write", "authenticated-read"), inEach("grant", holdsNone("uri", isPublicGroup)), inEach("access_control_policy.grant.grantee", holdsNone("uri", isPublicGroup))),
		},
		{
			ID: "aws/s3-block-public-acls", Title: "refuse public ACLs on S3", Severity: finding.High,
			Types: blocks, References: []string{"CKV_AWS_53", "AWS-0086"},
			Why:   "Without it, whoever may set an ACL can publish the bucket or an object.",
			Fix:   "set block_public_acls = true",
			Check: isOn("block_public_acls", false),
		},
		{
			ID: "aws/s3-block-public-policy", Title: "refuse public policies on S3", Severity: finding.High,
			Types: blocks, References: []string{"CKV_AWS_54", "AWS-0087"},
			Why:   "Without it, whoever may set the bucket's policy can publish the bucket.",
			Fix:   "set block_public_policy = true",
			Check: isOn("block_public_policy", false),
		},
		{
			ID: "aws/s3-ignore-public-acls", Title: "ignore public ACLs on S3", Severity: finding.High,
			Types: blocks, References: []string{"CKV_AWS_55", "AWS-0091"},
			Why:   "Public ACLs that are there already, or that came with an object, stay in force without it.",
			Fix:   "set ignore_public_acls = true",
			Check: isOn("ignore_public_acls", false),
		},
		{
			ID: "aws/s3-restrict-public-buckets", Title: "restrict S3 buckets with a public policy", Severity: finding.High,
			Types: blocks, References: []string{"CKV_AWS_56", "AWS-0093"},
			Why:   "A public policy that is there already gives access to other accounts and to anonymous callers without it.",
			Fix:   "set restrict_public_buckets = true",
			Check: isOn("restrict_public_buckets", false),
		},
		{
			ID: "aws/s3-public-access-block", Title: "give each S3 bucket a public access block", Severity: finding.Low,
			Types: buckets, References: []string{"CKV2_AWS_6", "AWS-0094"},
			Why:   "S3 blocks public access to buckets made since April 2023, but nothing keeps it so unless Terraform manages it.",
			Fix:   "add an aws_s3_bucket_public_access_block with all four settings, or one for the account",
			Check: anyOf(inOther("aws_s3_account_public_access_block", blocksPublicAccess()), inReferrer("aws_s3_bucket_public_access_block", "bucket", exists)),
		},
		{
			ID: "aws/s3-encryption-key", Title: "encrypt S3 buckets with a key of KMS", Severity: finding.Low,
			Types: buckets, References: []string{"CKV_AWS_145", "AWS-0132"},
			Why: "S3 encrypts everything with a key of its own since January 2023, so CKV_AWS_19 and AWS-0088 hold of every bucket. " +
				"With a key of KMS, reading takes a right to the key, too, and each use is logged.",
			Fix: "add an aws_s3_bucket_server_side_encryption_configuration with sse_algorithm = \"aws:kms\"",
			Check: anyOf(usesKMS("server_side_encryption_configuration.rule.apply_server_side_encryption_by_default.sse_algorithm"),
				says("the bucket is encrypted with S3's own key", inReferrer("aws_s3_bucket_server_side_encryption_configuration", "bucket", usesKMS("rule.apply_server_side_encryption_by_default.sse_algorithm")))),
		},
		{
			ID: "aws/s3-versioning", Title: "keep versions of S3 objects", Severity: finding.Medium,
			Types: buckets, References: []string{"CKV_AWS_21", "AWS-0090", "S3.14 of AWS Security Hub"},
			Why:   "What is overwritten or deleted, by mistake or by an attacker, is lost without versions.",
			Fix:   "add an aws_s3_bucket_versioning with status = \"Enabled\"",
			Check: anyOf(isOn("versioning.enabled", false), inReferrer("aws_s3_bucket_versioning", "bucket", isOneOf("versioning_configuration.status", "", "Enabled"))),
		},
		{
			ID: "aws/s3-logging", Title: "log access to S3 buckets", Severity: finding.Low,
			Types: buckets, References: []string{"CKV_AWS_18", "AWS-0089", "S3.9 of AWS Security Hub"},
			Why: "Who read or deleted what cannot be told afterwards without it. A bucket that receives such logs is exempt.",
			Fix: "add an aws_s3_bucket_logging whose target is another bucket",
			Check: anyOf(isOneOf("acl", "", "log-delivery-write"), inReferrer("aws_s3_bucket_acl", "bucket", isOneOf("acl", "", "log-delivery-write")),
				inReferrer("aws_s3_bucket_logging", "target_bucket", exists), hasBlock("logging"), inReferrer("aws_s3_bucket_logging", "bucket", exists)),
		},
		{
			ID: "aws/s3-policy-public", Title: "let no S3 policy open a bucket to everybody", Severity: finding.Critical,
			Types: []string{"aws_s3_bucket_policy", "aws_s3_bucket"}, References: []string{"CKV_AWS_70"},
			Why:   "A statement for the principal * without a condition lets anybody on the internet do what it allows.",
			Fix:   "name the principals, or add a condition such as aws:PrincipalOrgID or aws:SourceArn",
			Check: policyAt(openToAnybody, "policy"),
		},
		{
			ID: "aws/s3-policy-tls", Title: "refuse S3 requests without TLS", Severity: finding.Low,
			Types: buckets, References: []string{"CIS AWS 3.0.0 2.1.1", "S3.5 of AWS Security Hub"},
			Why:   "S3 answers plain HTTP, too; what is read or signed that way can be read by others.",
			Fix:   "add an aws_s3_bucket_policy that denies s3:* where aws:SecureTransport is false",
			Check: anyOf(deniesHTTP, inReferrer("aws_s3_bucket_policy", "bucket", deniesHTTP)),
		},
		{
			ID: "aws/s3-object-ownership", Title: "switch S3 ACLs off", Severity: finding.Low,
			Types: []string{"aws_s3_bucket_ownership_controls"}, References: []string{"CKV2_AWS_65", "S3.12 of AWS Security Hub"},
			Why:   "With ACLs, whoever writes an object says who may read it. Buckets made since April 2023 have them off, unless this switches them on.",
			Fix:   "set object_ownership = \"BucketOwnerEnforced\"",
			Check: isOneOf("rule.object_ownership", "", "BucketOwnerEnforced"),
		},
		{
			ID: "aws/ebs-encryption", Title: "encrypt EBS volumes", Severity: finding.High,
			Types: []string{"aws_ebs_volume"}, References: []string{"CIS AWS 3.0.0 2.2.1", "CKV_AWS_3", "AWS-0026"},
			Why:   "Whoever gets hold of the disk or of a snapshot can read it. EBS encrypts by default only where the account says so.",
			Fix:   "set encrypted = true, or add aws_ebs_encryption_by_default",
			Check: anyOf(encryptedByDefault(), likeSnapshot("encrypted", "snapshot_id")),
		},
		{
			ID: "aws/ebs-device-encryption", Title: "encrypt the disks of instances", Severity: finding.High,
			Types: []string{"aws_instance", "aws_launch_configuration", "aws_launch_template"}, References: []string{"CKV_AWS_8", "AWS-0131", "AWS-0008"},
			Why: "Whoever gets hold of the disk or of a snapshot can read it. A disk is not encrypted unless it, its snapshot or the account says so.",
			Fix: "set encrypted = true in root_block_device, ebs_block_device or ebs, or add aws_ebs_encryption_by_default",
			Check: anyOf(encryptedByDefault(), allOf(
				ofType("aws_launch_template", exists, says("there is no root_block_device, and the root disk is not encrypted by default", hasBlock("root_block_device"))),
				inEach("root_block_device", isOn("encrypted", false)),
				inEach("ebs_block_device", likeSnapshot("encrypted", "snapshot_id")),
				inEach("block_device_mappings.ebs", likeSnapshot("encrypted", "snapshot_id")))),
		},
		{
			ID: "aws/ebs-copy-encryption", Title: "encrypt copies of images and snapshots", Severity: finding.High,
			Types: []string{"aws_ami_copy", "aws_ebs_snapshot_copy"}, References: []string{"CKV_AWS_235"},
			Why:   "A copy is the usual way to encrypt, and also the way to carry a disk into another region in the clear.",
			Fix:   "set encrypted = true",
			Check: isOn("encrypted", false),
		},
		{
			ID: "aws/ebs-encryption-by-default", Title: "leave EBS encryption by default on", Severity: finding.Medium,
			Types: []string{"aws_ebs_encryption_by_default"}, References: []string{"CKV_AWS_106", "EC2.7 of AWS Security Hub"},
			Why:   "With it off, each volume that somebody forgets is in the clear.",
			Fix:   "set enabled = true",
			Check: isOn("enabled", true),
		},
		{
			ID: "aws/ebs-key", Title: "encrypt EBS volumes with your own key", Severity: finding.Low,
			Types: []string{"aws_ebs_volume"}, References: []string{"CKV_AWS_189", "AWS-0027"},
			Why:   "The policy of AWS's key cannot be changed; with your own, a key can be withdrawn and its use restricted.",
			Fix:   "set kms_key_id",
			Check: isSet("kms_key_id"),
		},
		{
			ID: "aws/efs-encryption", Title: "encrypt EFS file systems", Severity: finding.High,
			Types: []string{"aws_efs_file_system"}, References: []string{"CKV_AWS_42", "AWS-0037"},
			Why:   "EFS encrypts only what is created so, and it cannot be switched on later.",
			Fix:   "set encrypted = true",
			Check: isOn("encrypted", false),
		},
		{
			ID: "aws/efs-access-point-user", Title: "give EFS access points a user", Severity: finding.Low,
			Types: []string{"aws_efs_access_point"}, References: []string{"CKV_AWS_330", "EFS.4 of AWS Security Hub"},
			Why:   "Without one, the client says which user it is.",
			Fix:   "add posix_user with the uid and gid that the application needs",
			Check: hasBlock("posix_user"),
		},
		{
			ID: "aws/efs-policy-public", Title: "let no EFS policy admit everybody", Severity: finding.High,
			Types: []string{"aws_efs_file_system_policy"}, References: []string{"https://docs.aws.amazon.com/efs/latest/ug/access-control-block-public-access.html"},
			Why:   "A statement for the principal * without a condition lets every client that reaches a mount target in.",
			Fix:   "name the principals, or add a condition such as elasticfilesystem:AccessedViaMountTarget",
			Check: policyAt(openToAnybody, "policy"),
		},
	}
}

// isPublicGroup says whether the URI of a grantee is one of S3's two public groups.
func isPublicGroup(uri string) bool {
	return strings.HasSuffix(uri, "/global/AllUsers") || strings.HasSuffix(uri, "/global/AuthenticatedUsers")
}

func blocksPublicAccess() demand {
	return allOf(isOn("block_public_acls", false), isOn("block_public_policy", false), isOn("ignore_public_acls", false), isOn("restrict_public_buckets", false))
}

func usesKMS(path string) demand { return isOneOf(path, "", "aws:kms", "aws:kms:dsse") }

// encryptedByDefault holds where the account encrypts every volume, whatever the volume says.
func encryptedByDefault() demand {
	return inOther("aws_ebs_encryption_by_default", isOn("enabled", true))
}
