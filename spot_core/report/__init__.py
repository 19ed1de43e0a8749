"""What people read: pages, pictures, summary.json."""
