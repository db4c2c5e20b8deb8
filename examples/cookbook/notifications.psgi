# Notifications behind a login: each user receives those for this user and those for everybody.
use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

# In place of your own users.
my %PASSWORD = map { ($_ => $ENV{"\U${_}_PASSWORD"} || die "${_}'s password is not set\n") } qw(ada carl staff);

my $hub = EventSource::Hub->new(keep_history => {seconds => 7 * 86_400});

# A response that the callback returns is sent instead of a stream. REMOTE_USER comes from the login, not from the client.
my $events = $hub->to_app(
    channels => sub {
        my $user = shift->{REMOTE_USER};
        return [403, ['Content-Type' => 'text/plain'], ['Please log in']] if !defined $user || $user eq 'staff';
        return ("user/$user", 'everybody');
    }
);

sub notify {
    my $request = Plack::Request->new(shift);
    return [403, [], []] if $request->user ne 'staff' || $request->method ne 'POST';
    my ($to, $text) = @{$request->body_parameters}{qw(to text)};
    return [400, [], []] if !length($to // '') || !length($text // '');
    $hub->publish(($to eq 'everybody' ? $to : "user/$to") => {event => 'notification', data => decode('UTF-8', $text)});
    return [204, [], []];
}

builder {
    enable 'Auth::Basic',
        authenticator => sub { my ($user, $password) = @_; return ($PASSWORD{$user} // '') eq $password };
    mount '/events' => $events;
    mount '/notify' => \&notify;
};
