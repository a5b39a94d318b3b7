package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// estate writes a configuration of so many modules with twenty resources each, as teams write them: variables,
// locals, for_each, dynamic blocks, policies, and references between resources and modules.
func estate(modules int) textFiles {
	files := textFiles{}
	var root strings.Builder
	root.WriteString("terraform {\n  required_version = \"~> 1.9\"\n  backend \"s3\" {\n    bucket = \"state\"\n    encrypt = true\n  }\n}\n")
	root.WriteString("provider \"aws\" {\n  region = var.region\n}\nvariable \"region\" {\n  type = string\n  default = \"eu-central-1\"\n}\nlocals {\n  tags = { team = \"shop\", region = var.region }\n}\n")
	for n := range modules {
		fmt.Fprintf(&root, "module \"m%d\" {\n  source = \"./m%d\"\n  name   = \"app-%d\"\n  tags   = merge(local.tags, { number = \"%d\" })\n", n, n, n, n)
		if n > 0 {
			fmt.Fprintf(&root, "  upstream = module.m%d.bucket_arn\n", n-1)
		}
		root.WriteString("}\n")
		files[fmt.Sprintf("m%d/main.tf", n)] = []byte(fmt.Sprintf(estateModule, n))
	}
	files["main.tf"] = []byte(root.String())
	return files
}

const estateModule = `
variable "name" {
  type = string
}
variable "tags" {
  type    = map(string)
  default = {}
}
variable "upstream" {
  type    = string
  default = null
}
variable "ports" {
  type    = list(object({ port = number, cidr = optional(string, "10.0.0.0/8") }))
  default = [{ port = 443 }, { port = 8443, cidr = "10.1.0.0/16" }]
}
locals {
  prefix  = "${var.name}-%d"
  buckets = { for k in ["data", "logs"] : k => { name = "${local.prefix}-${k}", versioned = k == "data" } }
}
resource "aws_kms_key" "this" {
  description         = "key of ${local.prefix}"
  enable_key_rotation = true
  tags                = var.tags
}
resource "aws_s3_bucket" "this" {
  for_each = local.buckets
  bucket   = each.value.name
  tags     = merge(var.tags, { purpose = each.key })
}
resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = aws_s3_bucket.this
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = each.key == "data"
}
resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets
  bucket   = aws_s3_bucket.this[each.key].id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}
resource "aws_s3_bucket_versioning" "this" {
  for_each = local.buckets
  bucket   = aws_s3_bucket.this[each.key].id
  versioning_configuration {
    status = each.value.versioned ? "Enabled" : "Suspended"
  }
}
resource "aws_security_group" "this" {
  count       = 2
  name        = "${local.prefix}-${count.index}"
  description = "of ${var.name}"
  dynamic "ingress" {
    for_each = var.ports
    content {
      description = "port ${ingress.value.port}"
      from_port   = ingress.value.port
      to_port     = ingress.value.port
      protocol    = "tcp"
      cidr_blocks = [ingress.value.cidr]
    }
  }
  egress {
    description = "anywhere"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
resource "aws_iam_role" "this" {
  name = local.prefix
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}
resource "aws_iam_role_policy" "this" {
  name = local.prefix
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["s3:GetObject"], Resource = [for b in aws_s3_bucket.this : "${b.arn}/*"] },
      { Effect = "Allow", Action = "kms:Decrypt", Resource = aws_kms_key.this.arn },
    ]
  })
}
resource "aws_instance" "this" {
  count                       = 4
  ami                         = "ami-12345678"
  instance_type               = "t3.micro"
  associate_public_ip_address = count.index == 0
  vpc_security_group_ids      = aws_security_group.this[*].id
  metadata_options {
    http_tokens = "required"
  }
  root_block_device {
    encrypted  = true
    kms_key_id = aws_kms_key.this.arn
  }
  tags = merge(var.tags, { Name = format("%%s-%%02d", local.prefix, count.index) })
}
resource "aws_db_instance" "this" {
  identifier              = local.prefix
  engine                  = "postgres"
  instance_class          = "db.t3.micro"
  storage_encrypted       = true
  kms_key_id              = aws_kms_key.this.arn
  publicly_accessible     = false
  backup_retention_period = length(var.ports) * 7
  vpc_security_group_ids  = [aws_security_group.this[0].id]
}
resource "aws_cloudwatch_log_group" "this" {
  name              = "/app/${local.prefix}"
  retention_in_days = 30
  kms_key_id        = aws_kms_key.this.arn
}
resource "aws_sqs_queue" "this" {
  name              = local.prefix
  kms_master_key_id = try(aws_kms_key.this.id, null)
}
output "bucket_arn" {
  value = aws_s3_bucket.this["data"].arn
}
`

// BenchmarkEstate parses, evaluates and checks a thousand resources in fifty modules with all rules, and ten times
// as many. GOMAXPROCS=1 makes it one core.
func BenchmarkEstate(b *testing.B) {
	book := newRuleBook(rules())
	times := map[int]time.Duration{}
	for _, modules := range []int{50, 500} {
		files := estate(modules)
		b.Run(fmt.Sprintf("modules=%d", modules), func(b *testing.B) {
			for b.Loop() {
				l := newLoader(files)
				r := &report{}
				if err := l.checkRoot(context.Background(), ".", nil, book, r); err != nil {
					b.Fatal(err)
				}
				if len(l.problems.all) > 0 {
					b.Fatal(l.problems.all[0])
				}
				b.ReportMetric(float64(r.resources), "resources")
				b.ReportMetric(float64(r.counts.Pass+r.counts.Fail+r.counts.Unknown), "verdicts")
			}
			times[modules] = b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(peak(b)), "MB-peak")
			if modules == 500 {
				b.ReportMetric(float64(times[500])/float64(times[50])/10, "of-linear")
			}
		})
	}
}

// peak is the most memory that the process has had so far, in megabytes.
func peak(b *testing.B) int {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kilobytes >> 10
}

// TestWriteEstate writes the benchmark's configuration to the folder in ESTATE, to compare other tools with.
func TestWriteEstate(t *testing.T) {
	dir := os.Getenv("ESTATE")
	if dir == "" {
		t.Skip("ESTATE=DIR names no folder to write to")
	}
	for name, data := range estate(50) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
