"""Results on the Hugging Face hub: as a data set, as a page in a Space, and in the card of an SAE's own repository."""

from sae_lens_metrics.publishing.destinations import Address, Destination
from sae_lens_metrics.publishing.login import login
from sae_lens_metrics.publishing.private import Private
from sae_lens_metrics.publishing.shipments import Request, Shipment, prepare
from sae_lens_metrics.publishing.upload import send

__all__ = ["Address", "Destination", "Private", "Request", "Shipment", "login", "prepare", "send"]
