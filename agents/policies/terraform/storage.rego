package main

import data.lib.terraform
import rego.v1

public_acls := {"public-read", "public-read-write", "authenticated-read"}

# METADATA
# title: A bucket is not public by its ACL
deny_bucket_acl contains msg if {
	some bucket in terraform.of_type({"aws_s3_bucket", "aws_s3_bucket_acl"})
	bucket.values.acl in public_acls
	msg := sprintf("%s: the ACL is %s", [bucket.address, bucket.values.acl])
}

# METADATA
# title: A database is encrypted
deny_database_encryption contains msg if {
	some database in terraform.of_type({"aws_db_instance", "aws_rds_cluster"})
	encrypted := object.get(database.values, "storage_encrypted", false)
	terraform.known(encrypted)
	not terraform.is_true(encrypted)
	msg := sprintf("%s is not encrypted", [database.address])
}

# METADATA
# title: A database is not on the internet
deny_database_public contains {"msg": msg, "severity": "critical", "fix": "set publicly_accessible = false"} if {
	some database in terraform.of_type({"aws_db_instance"})
	terraform.is_true(database.values.publicly_accessible)
	msg := sprintf("%s is publicly accessible", [database.address])
}

# METADATA
# title: Backups are kept for as long as agreed
warn_database_backups contains msg if {
	some database in terraform.of_type({"aws_db_instance", "aws_rds_cluster"})
	days := to_number(object.get(database.values, "backup_retention_period", 0))
	days < data.agreed.backup_days
	msg := sprintf("%s keeps backups for %d days of %d", [database.address, days, data.agreed.backup_days])
}

# METADATA
# title: A key is rotated
warn_key_rotation contains sprintf("%s is not rotated", [key.address]) if {
	some key in terraform.of_type({"aws_kms_key"})
	not terraform.is_true(object.get(key.values, "enable_key_rotation", false))
}
