from_file = "of terraform.tfvars"
