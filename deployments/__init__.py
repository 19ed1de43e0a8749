"""How flows get to where they run: profiles, work pools, automations, and the services of one machine."""
