package EventSource::XS::MetricsApp;
use strict;
use warnings;

# The PSGI application that answers a monitor with text of OpenMetrics: who may read it.
#
# "metrics_app" in EventSource::Hub has the manual.

use EventSource::Error;
use EventSource::XS::AccessPolicy;
use EventSource::XS::Response;

my $CONTENT_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

# Public methods

# The application. Arguments: the settings of the module that has the method, the options allow, hosts and token, and code that
# returns the text, or throws an EventSource::Error if there is none for now.
sub new {
    my ($class, $settings, $given, $text_of) = @_;
    my $policy      = EventSource::XS::AccessPolicy->new($settings, %$given, of => 'metrics_app');
    my $response_to = sub {
        my $env     = shift;
        my $refusal = $policy->refusal($env);
        return $refusal if $refusal;
        return EventSource::XS::Response->text(405, 'GET or HEAD', Allow => 'GET, HEAD')
            if $env->{REQUEST_METHOD} !~ /\A(?:GET|HEAD)\z/;
        local $SIG{__DIE__};
        my $text = eval { $text_of->() };
        return EventSource::XS::Response->of(200, $CONTENT_TYPE, $text) if defined $text;
        return EventSource::XS::Response->text(503, EventSource::Error->own($@)->message, 'Retry-After' => 10);
    };
    return sub { EventSource::XS::Response->for_method($_[0]{REQUEST_METHOD}, $response_to->($_[0])) };
}

1;
