terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.90" }
  }
  backend "s3" {
    bucket         = "shop-terraform-state"
    key            = "prod/network/terraform.tfstate"
    dynamodb_table = "terraform-lock"
    kms_key_id     = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }
}

variable "db_password" {
  description = "Password of the database; at least 16 characters."
  type        = string
  sensitive   = true
}

variable "api_token" {
  type      = string
  sensitive = true
  default   = null
}

resource "random_password" "db" {
  length           = 32
  special          = true
  override_special = "!#$%&*()-_=+[]{}<>:?"
}

resource "aws_db_instance" "shop" {
  identifier                  = "shop"
  engine_version              = "17.4"
  instance_class              = "db.t4g.medium"
  username                    = "shop"
  password                    = random_password.db.result
  manage_master_user_password = true
  master_user_secret_kms_key_id = aws_kms_key.db.arn
  storage_encrypted           = true
}

resource "aws_secretsmanager_secret_version" "db" {
  secret_id     = aws_secretsmanager_secret.db.id
  secret_string = jsonencode({ username = "shop", password = random_password.db.result })
}

resource "kubernetes_secret_v1" "db" {
  metadata { name = "shop-db" }
  data = { password = random_password.db.result, token = var.api_token }
  type = "Opaque"
}

provider "datadog" {
  api_key = var.datadog_api_key
  app_key = var.datadog_app_key
}

provider "github" {
  owner = "acme"
  token = local.github_token
}

data "vault_kv_secret_v2" "db" {
  mount = "secret"
  name  = "prod/shop/db"
}

output "db_password" {
  value     = data.vault_kv_secret_v2.db.data["password"]
  sensitive = true
}

resource "aws_key_pair" "ops" {
  key_name   = "ops"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIyRqQ0vVnLQ0yU1yN8t4hQyq0x2m0m0m0m0m0m0m0m0 ops@example.com"
}

resource "aws_s3_object" "config" {
  bucket  = aws_s3_bucket.config.id
  key     = "config/app.json"
  content = templatefile("${path.module}/app.json", { password = "${var.db_password}", url = "https://${local.host}/" })
  etag    = filemd5("${path.module}/app.json")
}
