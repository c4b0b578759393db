# Write-only arguments and ephemeral resources keep generated passwords out of the state; they need Terraform 1.11.
terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
  }

  # Which bucket is in staging.gcs.tfbackend and prod.gcs.tfbackend: `make terraform-init ENV=staging`.
  backend "gcs" {}
}

provider "google" {
  project               = var.project_id
  region                = var.region
  billing_project       = var.project_id
  user_project_override = true # the budget's API asks for a project to count its calls on

  default_labels = {
    application = "loan-default"
    environment = var.environment
  }
}
