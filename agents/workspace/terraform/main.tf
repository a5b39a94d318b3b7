# A small shop, to try terraform_check_config on: the buckets of the module are as they should be, the database is not.
terraform {
  required_version = "~> 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  backend "s3" {
    bucket  = "shop-state"
    key     = "shop.tfstate"
    encrypt = true
  }
}

variable "subnets" {
  type        = list(string)
  description = "Subnets of the database."
}

module "buckets" {
  source   = "./modules/bucket"
  for_each = toset(["images", "invoices"])
  name     = "shop-${each.key}"
}

resource "aws_db_instance" "shop" {
  identifier          = "shop"
  engine              = "postgres"
  instance_class      = "db.t4g.small"
  allocated_storage   = 20
  storage_encrypted   = false
  publicly_accessible = length(var.subnets) == 0
}

resource "aws_security_group" "admin" {
  name        = "admin"
  description = "Access for the administrators."

  dynamic "ingress" {
    for_each = { ssh = 22, https = 443 }

    content {
      description = ingress.key
      from_port   = ingress.value
      to_port     = ingress.value
      protocol    = "tcp"
      cidr_blocks = ["0.0.0.0/0"]
    }
  }
}
