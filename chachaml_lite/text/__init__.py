"""Values as text: for terminals, tables, reports and GitHub. No flask."""
