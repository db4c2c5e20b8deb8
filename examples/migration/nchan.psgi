# After: an application with the URLs of nchan.conf, for the same publishers and the same pages.
use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $hub = EventSource::Hub->new(start => 'oldest', keep_history => {events => 10, seconds => 3600});

sub channel { return $_[0]{PATH_INFO} =~ m{\A/(\w+)\z} ? $1 : () }

sub publish {
    my $request = Plack::Request->new(shift);
    my $channel = channel($request->env) or return [404, [], []];
    return [405, [Allow => 'POST'], []] if $request->method ne 'POST';
    my $type = $request->header('X-EventSource-Event');
    $hub->publish($channel => {event => $type, data => decode('UTF-8', $request->content)});
    return [202, [], []];
}

builder {
    mount '/sub' => $hub->to_app(channels => \&channel);
    mount '/pub' => \&publish;
};
