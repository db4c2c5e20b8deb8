# Streams with tickets, for the doctor: /events; /login, for a client with the cookie user=ann; /session, whose middleware sets
# the session's cookie anew with each response; /page, where who comes back gets a page; /deleted, whose middleware deletes old
# cookies; /none, without a ticket; /large, with one that is larger than a cookie may be.

use Testing::Application;
use EventSource::Hub;
use Plack::Builder;

my $hub    = EventSource::Hub->new(name => 'shop', socket => $ENV{HUB_SOCKET}, autostart => 0);
my @ticket = (channels => sub { 'news' }, ticket => 600);
my $count  = 0;

# A middleware that sets cookies.
sub setting {
    my $cookies = shift;
    return sub {
        my $app = shift;
        return sub {
            my $env = shift;
            my @set = map { ('Set-Cookie' => $_) } $cookies->();
            return Plack::Util::response_cb($app->($env), sub { push @{$_[0][1]}, @set; return });
        };
    };
}

builder {
    mount '/events' => $hub->to_app(@ticket);
    mount '/login' => $hub->to_app(@ticket,
        channels => sub { ($_[0]{HTTP_COOKIE} // '') =~ /\buser=ann\b/ ? 'news' : [403, [], []] });
    mount '/none' => $hub->to_app(channels => sub { 'news' });
    mount '/page' => builder {
        enable_if { ($_[0]{HTTP_COOKIE} // '') =~ /ticket/ } sub {
            sub { [200, ['Content-Type' => 'text/html; charset=UTF-8'], ['Log in']] }
        };
        $hub->to_app(@ticket);
    };
    mount '/deleted' => builder {
        enable_if { ($_[0]{HTTP_COOKIE} // '') =~ /old/ } sub {
            sub { [500, [], ['A deleted cookie']] }
        };
        enable setting(sub { return ('old=; Max-Age=0', 'older=; Expires=Thu, 01 Jan 1970 00:00:00 GMT') });
        $hub->to_app(@ticket);
    };
    mount '/large' => $hub->to_app(
        @ticket,
        label => sub {
            map { sprintf 'label-%0100d', $_ } 1 .. 40;
        }
    );
    mount '/session' => builder {
        enable setting(sub { "session=$$." . $count++ . '; Path=/' });
        $hub->to_app(@ticket);
    };
};
