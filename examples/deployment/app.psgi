# An application to deploy: a stream, counters for a monitor, and a way to end all streams slowly before a restart.
use strict;
use warnings;

use EventSource::Hub;
use EventSource::XS;
use JSON::MaybeXS qw(encode_json);
use Plack::Builder;

my $SECRET = $ENV{ADMIN_SECRET} || die "ADMIN_SECRET is not set\n";
my $hub    = EventSource::Hub->new(per_process => 1, retry => 2000);

sub is_admin { return ($_[0]{HTTP_X_ADMIN_SECRET} // '') eq $SECRET && $_[0]{REQUEST_METHOD} eq $_[1] }

sub drain {
    return [403, [], []] if !is_admin(shift, 'POST');
    $hub->drain(30);    # returns at once; the last stream ends after 30 seconds
    return [204, [], []];
}

sub publish {
    return [403, [], []] if !is_admin(shift, 'POST');
    return [200, ['Content-Type' => 'text/plain'], [$hub->publish(news => {data => 'hello'})]];
}

sub stats {
    return [403, [], []] if !is_admin(shift, 'GET');
    my %stats = (streams => EventSource::XS->stats, hub => $hub->stats);
    return [200, ['Content-Type' => 'application/json'], [encode_json(\%stats)]];
}

builder {
    mount '/events'  => $hub->to_app(channels => sub { 'news' });
    mount '/publish' => \&publish;
    mount '/drain'   => \&drain;
    mount '/stats'   => \&stats;
};
