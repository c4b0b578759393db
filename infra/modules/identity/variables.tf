variable "project_id" {
  description = "The project."
  type        = string
  nullable    = false
}

variable "environment" {
  description = "staging or prod: also the name of the GitHub environment whose workflows may deploy here."
  type        = string
  nullable    = false
}

variable "repository" {
  description = "The GitHub repository, as owner/name."
  type        = string

  validation {
    condition     = length(split("/", var.repository)) == 2
    error_message = "repository must be owner/name."
  }
}

variable "ref" {
  description = "The branch whose workflows may deploy, as refs/heads/main."
  type        = string

  validation {
    condition     = startswith(var.ref, "refs/heads/")
    error_message = "ref must be a branch, as refs/heads/main."
  }
}
