# What testdata/plan/*.json are made of: see testdata/plan/make.
terraform {
  required_providers {
    terraform = { source = "terraform.io/builtin/terraform" }
  }
}

variable "secret" {
  type      = string
  sensitive = true
}

resource "terraform_data" "gone" {
  input = "gone"
}

resource "terraform_data" "kept" {
  for_each         = { a = "one", "b\"c" = "two" }
  input            = { name = each.key, secret = var.secret, list = ["x", { deep = true }] }
  triggers_replace = [each.value]
}

module "net" {
  source = "./net"
  count  = 2
  base   = terraform_data.kept["a"].id
  secret = var.secret
}
