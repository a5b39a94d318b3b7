terraform {
  required_version = ">= 1.6"
  required_providers {
    aws    = { source = "hashicorp/aws", version = ">= 5.0" }
    random = { source = "hashicorp/random", version = "~> 3.6" }
    bare   = { source = "example/bare" }
  }
}

provider "aws" {
  region     = "us-east-1"
  access_key = "AKIAIOSFODNN7EXAMPLE"
}

provider "aws" {
  alias      = "second"
  region     = var.region
  secret_key = var.secret
}

variable "region" {
  type    = string
  default = "eu-west-1"
}

variable "ports" {
  default = [22, 80]
}

locals {
  tags = { team = "shop", environment = var.region == "eu-west-1" ? "prod" : "test" }
}

resource "aws_s3_bucket" "website" {
  bucket = "shop-website"
  acl    = "public-read"
  tags   = local.tags
}

resource "aws_s3_bucket" "logs" {
  bucket = "shop-${var.region}-logs"
  acl    = "private"
  tags   = { team = "shop" }

  lifecycle_rule {
    enabled = true
    expiration { days = 30 }
  }
  lifecycle_rule {
    enabled = false
  }
}

resource "aws_security_group" "web" {
  name = "web"

  ingress {
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0", "::/0"]
  }
  ingress {
    from_port   = 20
    to_port     = 23
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
  ingress {
    from_port   = 8080
    to_port     = 8080
    protocol    = "tcp"
    cidr_blocks = ["172.16.0.0/12", "10.1.0.0/16", var.office]
  }
  dynamic "ingress" {
    for_each = toset(var.ports)
    content {
      from_port   = ingress.value
      to_port     = ingress.value
      protocol    = "tcp"
      cidr_blocks = ["0.0.0.0/0"]
    }
  }
}

resource "aws_db_instance" "shop" {
  identifier              = "shop"
  instance_class          = "db.m5.large"
  storage_encrypted       = false
  publicly_accessible     = "true"
  backup_retention_period = "3"
  username                = "admin"
  password                = "correct-horse-battery"
}

resource "aws_db_instance" "other" {
  instance_class          = "db.t4g.medium"
  storage_encrypted       = var.encrypted
  password                = random_password.db.result
  backup_retention_period = var.days
  tags = merge(local.tags, { name = "other" })
}

resource "aws_instance" "app" {
  count         = 2
  instance_type = count.index == 0 ? "t3.small" : "m5.4xlarge"
  user_data     = <<-EOT
    #!/bin/sh
    echo "${var.region}" %{ if true }yes%{ else }no%{ endif }
    %{ for p in var.ports ~}
    ${p}
    %{ endfor ~}
  EOT
  tags = { team = "a", environment = "b", "${var.region}" = "c", (local.key) = "d" }
}

resource "aws_instance" "big" {
  instance_type = "m5.4xlarge"
}

resource "aws_iam_policy" "all" {
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "*", Resource = "*" }] })
}

resource "aws_iam_role_policy" "text" {
  policy = <<EOF
{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}, {"Action": ["s3:*", "*"], "Resource": ["*"]}]}
EOF
}

resource "aws_kms_key" "k" {
  enable_key_rotation = false
  deletion_window_in_days = -(1 + 2)
}

resource "aws_route" "out" {
  destination_cidr_block = "0.0.0.0/0"
  nested {
    deeper { cidrs = ["10.0.0.0/8", "::/0"] }
  }
}

module "net" {
  source = "./modules/net"
}

module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "~> 5.0"
}

module "pinned" {
  source = "git::https://example.com/vpc.git?ref=v1.2.0"
}

module "floating" {
  source = "git::https://example.com/vpc.git"
}

output "db_password" {
  value = random_password.db.result
}

output "api_token" {
  value     = var.token
  sensitive = true
}
