output "names" {
  description = "The Cloud Run services' names."
  value = {
    mlflow  = google_cloud_run_v2_service.mlflow.name
    scoring = google_cloud_run_v2_service.scoring.name
  }
}
