package EventSource::XS::AccessPolicy;
use strict;
use warnings;

# Decides who may use an application for operators (metrics_app and admin_app of EventSource::Hub): which clients, under which
# names, with which token. Its owner decides: an address alone may be that of a proxy, which need not say for whom it asks.

use Digest::SHA qw(sha256);
use EventSource::XS::Address;
use EventSource::XS::Response;
use MIME::Base64  qw(decode_base64);
use Sys::Hostname ();

# Headers with which a proxy says that the client is another one.
my @FORWARDED = qw(HTTP_FORWARDED HTTP_VIA HTTP_X_FORWARDED_FOR HTTP_X_REAL_IP);

# A request of a stranger: an address that is for manuals, and what each request has.
my $ANYBODY = '192.0.2.1';
my $OF_ANY  = qr/\A(?:HTTP_HOST|PATH_INFO|REQUEST_METHOD|SCRIPT_NAME|SERVER_\w+|psgi[.].*)\z/;

# Arguments: the settings of the module that has the method, its options allow, hosts and token, and its name (of).
sub new {
    my ($class, $settings, %given) = @_;
    my ($missing) = ref $given{allow} eq 'CODE' ? () : grep { !defined $given{$_} } qw(allow token);
    $settings->refuse(
        $missing => "$given{of} needs allow, an array of addresses, together with token; or code as allow."
            . ' An address alone may be that of a proxy')
        if $missing;
    return bless {
        of         => $given{of},
        is_allowed => _is_allowed($settings, @given{qw(allow of token)}),
        is_host    => _is_host($settings, $given{hosts}),
        has_token  => _has_token($settings, $given{token}),
    }, $class;
}

# Public methods

# Return a PSGI response if the client of a request may not use the application; otherwise undef.
sub refusal {
    my ($self, $env)  = @_;
    my ($of,   @asks) = ($self->{of}, 'WWW-Authenticate' => qq(Basic realm="$self->{of}"));
    return EventSource::XS::Response->text(403, "$of is not for this client") if !$self->{is_allowed}->($env);
    return EventSource::XS::Response->text(403, "this name is not known here: add it to hosts of $of")
        if !$self->{is_host}->($env->{HTTP_HOST});
    return undef if $self->{has_token}->($env->{HTTP_AUTHORIZATION});
    return EventSource::XS::Response->text(401, "$of needs its token: Authorization: Bearer ...", @asks);
}

# Private functions

# True if no proxy has sent a request of another machine, and nothing says whose it is.
sub _comes_alone {
    my $env = shift;
    return !!0 if grep { defined $env->{$_} } @FORWARDED, qw(HTTP_AUTHORIZATION REMOTE_USER);
    my $address = EventSource::XS::Address->packed($env->{REMOTE_ADDR}) // return !!0;
    return $address !~ /\A(?:\x7F|\0{15}\x01\z)/;
}

# The first bits of an address, after its length in bytes.
sub _bits {
    my ($address, $count) = @_;
    my $packed = EventSource::XS::Address->packed($address);
    return if !defined $packed || defined $count && ($count !~ /\A[0-9]{1,3}\z/ || $count > 8 * length $packed);
    return join ' ', length $packed, unpack 'B' . ($count // '*'), $packed;
}

# Returns a function of the header Authorization. A browser asks its user for a password, which is the token. Digests are
# compared, so the time says nothing of it.
sub _has_token {
    my ($settings, $token) = @_;
    return sub { !!1 }
        if !defined $token;
    $settings->refuse(token => 'token must be at least 16 characters of ASCII, none of them a blank')
        if ref $token || $token !~ /\A[!-~]{16,}\z/;
    my $digest = sha256($token);
    return sub {
        my ($scheme, $given) = ($_[0] // '') =~ /\A(Basic|Bearer) +(\S+)\z/i or return !!0;
        return sha256(lc $scheme eq 'basic' ? decode_base64($given) =~ s/\A[^:]*://r : $given) eq $digest;
    };
}

# Returns a function of the PSGI environment.
sub _is_allowed {
    my ($settings, $allow, $of, $token) = @_;
    return _is_allowed_by_code($settings, $allow, $of, defined $token) if ref $allow eq 'CODE';
    my $elements = $settings->array(allow => $allow, 'addresses');
    my (@blocks, %has_logged);
    for my $text (@$elements) {
        push @blocks, defined $text && _bits(split m{/}, $text, 2)
            || $settings->refuse(allow => 'allow takes addresses, such as 192.0.2.7, 192.0.2.0/24 and 2001:db8::/32');
    }
    return sub {
        my ($env, $client) = ($_[0], EventSource::XS::Address->text($_[0]{REMOTE_ADDR}) // '');
        my $bits  = _bits($client) // '';
        my $proxy = !$bits || grep { defined $env->{$_} } @FORWARDED;    # or a Unix socket, behind which is one
        return !!1 if !$proxy && grep { index($bits, $_) == 0 } @blocks;
        my $remedy = $proxy ? 'behind a proxy: only code may allow that' : 'by the address: add it to allow, if it may';
        $client = 'a client' if !$bits;
        my $log = $has_logged{$remedy}++ ? undef : $env->{'psgi.errors'};
        $log->print("$settings->{module}: $of refuses $client $remedy\n") if $log;
        return !!0;
    };
}

# As _is_allowed. Code that allows everybody relies on a proxy, which asks for a password: a client that comes past it is
# logged.
sub _is_allowed_by_code {
    my ($settings, $allow, $of, $has_token) = @_;
    my $is_known = $has_token;
    return sub {
        my $env = shift;
        return !!0 if !$allow->($env);
        return !!1 if $is_known || $env->{REQUEST_METHOD} ne 'GET' || !_comes_alone($env);
        $is_known = 1;
        local ($@, $SIG{__DIE__});
        my %anybody = (REMOTE_ADDR => $ANYBODY, map { /$OF_ANY/ ? ($_ => $env->{$_}) : () } keys %$env);
        $env->{'psgi.errors'}->print("$settings->{module}: $of allows everybody, and a client of "
                . EventSource::XS::Address->text($env->{REMOTE_ADDR})
                . ' has reached the application itself: let only the proxy reach it, or ask for the password here'
                . " (Plack::Middleware::Auth::Basic)\n")
            if $env->{'psgi.errors'} && eval { $allow->(\%anybody) };
        return !!1;
    };
}

# Returns a function of the header Host. A page can let its own name stand for another address after it was loaded (DNS
# rebinding), and a browser on this machine would use the application for it. An address cannot be rebound, and a monitor need
# not send the header.
sub _is_host {
    my ($settings, $hosts) = @_;
    my $elements = defined $hosts ? $settings->array(hosts => $hosts, 'names') : [];
    $settings->refuse(hosts => "hosts takes names without ports, such as 'shop.example'")
        if grep { !defined || !/\A[A-Za-z0-9._-]+\z/ } @$elements;
    my %is_known = map { (lc $_ => 1) } 'localhost', Sys::Hostname::hostname(), @$elements;
    return sub {
        my $host = lc(defined $_[0] ? $_[0] : '');
        return !!1 if $host eq '';
        $host =~ s/:[0-9]*\z// if $host !~ /\]\z/;
        my ($address) = $host =~ /\A(?|\[(.*:.*)\]|([0-9.]+))\z/;
        return !!1 if defined EventSource::XS::Address->packed($address);
        return !!$is_known{$host};
    };
}

1;
