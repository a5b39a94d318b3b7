# Syntax that a converter may trip over.
locals {
  empty_list   = []
  empty_object = {}
  nothing      = null
  yes          = true
  numbers      = [0, -1, 1.5, 1e3, 123456789012345678901234567890, 0.1, -0.0]
  text         = "tab\t quote\" backslash\\ dollar$${not} percent%%{not} \u00e9 \U0001F600 é"
  heredoc      = <<EOT
line one
  ${local.a} and $${escaped}
EOT
  indented = <<-EOT
    a
      b %{ for x in var.list ~} ${x} %{ endfor ~}
    %{ if var.c }yes%{ else }no%{ endif }
  EOT
  arithmetic  = (1 + 2) * 3 % 4 - -5
  compare     = a == b && !c || d != e
  conditional = var.a ? "yes" : var.b ? [1] : { k = "v" }
  for_list    = [for i, v in var.l : "${i}-${v}" if v != ""]
  for_object  = { for k, v in var.m : upper(k) => v... }
  splat       = aws_instance.x[*].id
  full        = aws_instance.x.*.network[0].ip
  index       = var.m["key"][0]
  calls       = merge({ a = 1 }, jsondecode("{}"), format("%s-%d", "a", 1))
  nested      = { a = { b = { c = [{ d = "${var.x}" }, { "e f" = 1 }] } }, (var.k) = 1, "${var.k}2" = 2, plain-key = 3, 7 = "seven" }
  wrapped     = "${var.only}"
  template    = "a${1 + 1}b${"inner ${var.deep} text"}c"
  parens      = ((((1))))
  expansion   = max(var.list...)
  type        = object({ a = optional(string, "x"), b = list(number) })
}

resource "a" "b" {
  one {
    two {
      three "label" "other" {
        v = 1
      }
    }
  }
  one {}
  provisioner "local-exec" {
    command = "echo ${self.id}"
  }
}

resource "a" "b" {
  again = true
}

resource "a" "c" {}

terraform {
  backend "s3" {}
  cloud {
    workspaces { name = "x" }
  }
}

moved {
  from = a.b
  to   = a.c
}

variable "typed" {
  type = map(object({ ports = list(number) }))
  validation {
    condition     = alltrue([for p in var.typed : length(p.ports) > 0])
    error_message = "no"
  }
}
