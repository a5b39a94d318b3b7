region = "eu-west-1"
ports  = [443]
