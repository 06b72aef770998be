"""The report: tables, pictures and pages, a pure function of rows and published figures."""
