locals {
  l        = ["x", "y", "z"]
  m        = { a = 1, b = 2 }
  s        = toset(["x", "y"])
  nothing  = null
  template = "hello $${name}"
  o = {
    nested = { deep = "down", list = [1, 2, 3] }
  }
  objects = [
    { name = "one", size = 1, tags = { env = "dev" } },
    { name = "two", size = 2, tags = { env = "prod" } },
    { name = "three", size = 3, tags = { env = "dev" } },
  ]
}

variable "object" {
  type = object({
    name  = string
    size  = optional(number, 7)
    tags  = optional(map(string), {})
    inner = optional(object({ x = optional(bool, true) }), {})
  })
  default = { name = "n" }
}

variable "list" {
  type    = list(string)
  default = [1, true, "x"]
}

variable "set" {
  type    = set(number)
  default = ["3", 1, 3]
}

variable "map" {
  type    = map(bool)
  default = { a = "true", b = false }
}

variable "from_file" {
  type = string
}

variable "from_auto" {
  type    = list(number)
  default = []
}

variable "number_text" {
  type    = string
  default = 15
}
