variable "base" {
  type = string
}

variable "secret" {
  type      = string
  sensitive = true
}

resource "terraform_data" "first" {
  count = 2
  input = "${var.base}-${count.index}"
}

resource "terraform_data" "second" {
  count = 2
  input = terraform_data.first[count.index].id
}
