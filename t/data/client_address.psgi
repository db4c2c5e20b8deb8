# The address of the client.

use Testing::Application;
use EventSource::XS;

sub { return [200, ['Content-Type' => 'text/plain'], [EventSource::XS->client_address($_[0]) // 'none']] };
