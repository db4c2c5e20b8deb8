package EventSource::XS::Hub::Store;
use strict;
use warnings;

# The setting `store` of a hub: checks it, and makes of it what the native hub takes. The stores are in the program of a hub's
# process.

our $VERSION = '0.100';

use EventSource::XS::Settings;
use File::Spec ();

# An error reports the line of the application.
our @CARP_NOT = qw(EventSource::Hub);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# Where a store is, and the settings of its kind.
my %SETTINGS_OF = (
    file  => [qw(file sync)],
    redis => [qw(ca cert key prefix queue redis replicas sentinel_login when_down)],
);
my %TLS_FILE = (ca => 'the certificates of authorities', cert => 'a certificate', key => 'the key of a certificate');

# The native hub takes these as numbers, in the order of src/wire/store.rs.
my @KIND      = qw(memory file redis);
my @SYNC      = qw(never second event);
my @WHEN_DOWN = qw(refuse queue);

my $MAX_REPLICAS = 100;
my $QUEUE        = 10_000;      # events
my $MAX_QUEUE    = 1_000_000;

my $PREFIX = qr/\A[A-Za-z0-9_.:-]{1,64}\z/;

# Parts of a URL. No character of user and password needs to be encoded but those that end them.
my $USER     = qr{[^\s:/?\#@]*(?::[^\s:/?\#@]*)?};
my $LOGIN    = qr{\A(?:[\x21-\x7E](?<![:/?\#@%])|%[0-9A-Fa-f]{2})*:(?:[\x21-\x7E](?<![:/?\#@%])|%[0-9A-Fa-f]{2})+\z};
my $HOST     = qr{(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)|\[[0-9A-Fa-f:.]+\])};
my $PORT     = qr/:[0-9]{1,5}/;
my $DATABASE = qr{/[0-9]{1,5}};
my $MASTER   = qr{/[A-Za-z0-9_.-]+};
my $EXAMPLE  = 'redis://127.0.0.1:6379/0';
my $SENTINEL = 'redis-sentinel://sentinel1:26379,sentinel2:26379/mymaster/0';

# Public methods

# Return the settings of the native hub that store stands for: store, the number of its kind, and store_place and others.
# Throws an EventSource::Error with the code invalid if the value is not one that EventSource::Hub::store may have. No
# message shows any part of the URL of Redis, because that may hold a password.
sub native {
    my ($class, $store) = @_;
    my %native = (store => 0, map({ ("store_$_" => '') } qw(ca cert key place prefix sentinel_login)), store_sync => 1);
    @native{qw(store_queue store_replicas)} = (0, 0);
    return %native if !defined $store || !ref $store && $store eq 'memory';
    my $kind     = _kind_of($store);
    my %own      = $kind eq 'file' ? _file($store) : _redis($store);
    my ($number) = grep { $KIND[$_] eq $kind } 0 .. $#KIND;
    return (%native, store => $number, map { ("store_$_" => $own{$_}) } keys %own);
}

# Private functions

# The absolute path of a file, as characters. A path is bytes in Perl; the program of a hub's process takes paths in UTF-8.
sub _absolute {
    my ($name, $value) = @_;
    my $path = $SETTINGS->string("$name of store", $value, field => 'store');
    _refuse("$name must be the path of a file, not empty and without a NUL") if !length $path || $path =~ /\0/;
    _refuse("$name must be the path of a file, without file:")               if $path                  =~ /\Afile:/i;
    my $bytes = $path;
    utf8::encode($bytes) if $path =~ /[^\0-\xFF]/ || !utf8::decode(my $copy = $path);
    my $absolute = File::Spec->rel2abs($bytes);
    _refuse("$name must be a path in UTF-8") if !utf8::decode($absolute);
    return $absolute;
}

# A URL may hold a password, so it must not be in the message about an unknown setting.
sub _check_for_urls {
    my $store = shift;
    _refuse("store has a URL as the name of a setting; write {redis => '$EXAMPLE'}") if grep { m{://} } keys %$store;
    return;
}

# Names a setting of the other kind as that, rather than as unknown.
sub _check_names {
    my ($store, $kind) = @_;
    _check_for_urls($store);
    my ($what, $other, $of_other) = $kind eq 'file' ? ('a file', 'Redis', 'redis') : ('Redis', 'a file', 'file');
    my ($foreign) = sort grep { defined $store->{$_} } @{$SETTINGS_OF{$of_other}};
    _refuse("$foreign is not for a store in $what, but for one in $other") if defined $foreign;
    my %is_foreign = map { ($_ => 1) } @{$SETTINGS_OF{$of_other}};            # and undefined
    my %own        = map { $is_foreign{$_} ? () : ($_ => 1) } keys %$store;
    $SETTINGS->known(\%own, $SETTINGS_OF{$kind}, 'setting %s of store');
    return;
}

sub _file {
    my $store = shift;
    _one_of(sync => $store->{sync}, @SYNC);
    my $given = $SETTINGS->string('file of store', $store->{file}, field => 'store');
    _refuse(q(file ':memory:' is no file; write store => 'memory')) if $given eq ':memory:';
    my $place = _absolute(file => $given);
    _refuse("file must be the path of a file; $given is a folder") if $given =~ m{/\z} || -d $given;
    my $sync = defined $store->{sync} ? $store->{sync} : 'second';
    my ($number) = grep { $SYNC[$_] eq $sync } 0 .. $#SYNC;
    return (place => $place, sync => $number);
}

# The kind of a store.
sub _kind_of {
    my $store = shift;
    if (ref $store ne 'HASH') {
        my $is_text = !ref $store;
        _refuse('store must be a hash with the URL: {redis => ...}') if $is_text && $store =~ m{\Aredis}i;
        _refuse('store must be a hash with the path: {file => ...}') if $is_text && $store =~ m{/|\Afile}i;
        _refuse("store must be 'memory', {file => \$path} or {redis => \$url}");
    }
    my ($file, $redis) = map { defined $store->{$_} } qw(file redis);
    _refuse('store has file and redis; a hub has one store: remove one of them') if $file && $redis;
    if (!$file && !$redis) {
        _check_for_urls($store);
        $SETTINGS->known($store, [map { @$_ } values %SETTINGS_OF], 'setting %s of store');
        _refuse('store needs file or redis: {file => $path} or {redis => $url}');
    }
    my $kind = $file ? 'file' : 'redis';
    _check_names($store, $kind);
    return $kind;
}

sub _one_of {
    my ($name, $value, @allowed) = @_;
    return if !defined $value || grep { $_ eq $value } @allowed;
    my @shown = map { "'$_'" } @allowed;
    my $last  = pop @shown;
    return _refuse("$name of store must be " . join(', ', @shown) . " or $last");
}

sub _queue {
    my $store = shift;
    _one_of(when_down => $store->{when_down}, @WHEN_DOWN);
    my $queues = defined $store->{when_down} && $store->{when_down} eq 'queue';
    _refuse("queue is only for when_down => 'queue': add that, too") if defined $store->{queue} && !$queues;
    my $queue = _whole_number(queue => $store->{queue}, 1, $MAX_QUEUE);
    return !$queues ? 0 : defined $queue ? $queue : $QUEUE;
}

sub _redis {
    my $store  = shift;
    my $url    = _url($store->{redis});
    my $prefix = $SETTINGS->string('prefix of store', $store->{prefix}, field => 'store');
    $prefix = 'es' if !defined $prefix;
    _refuse('prefix must be 1 to 64 letters, digits, _, -, . and :, without spaces and braces') if $prefix !~ $PREFIX;
    my $replicas = _whole_number(replicas => $store->{replicas}, 0, $MAX_REPLICAS);
    return (
        place    => $url,
        prefix   => $prefix,
        queue    => _queue($store),
        replicas => defined $replicas ? $replicas : 0,
        _sentinel_login($store, $url =~ /\Arediss?-sentinel:/),
        _tls_files($store, $url      =~ /\Arediss/),
    );
}

sub _refuse { return $SETTINGS->refuse(store => shift) }

# User and password of the Sentinels. No message shows any of it.
sub _sentinel_login {
    my ($store, $has_sentinels) = @_;
    my $login = $SETTINGS->string('sentinel_login of store', $store->{sentinel_login}, field => 'store');
    return if !defined $login;
    _refuse('sentinel_login is for Sentinels: begin the URL with redis-sentinel:// or rediss-sentinel://')
        if !$has_sentinels;
    _refuse(  'sentinel_login must be USER:PASSWORD, or :PASSWORD for the default user; in both encode all but'
            . ' letters, digits and punctuation of ASCII, and :/?#@%, as in a URL, such as %40')
        if $login !~ $LOGIN;
    return (sentinel_login => $login);
}

sub _tls_files {
    my ($store, $is_tls) = @_;
    my %path;
    for my $name (grep { defined $store->{$_} } sort keys %TLS_FILE) {
        _refuse("$name, $TLS_FILE{$name}, is for TLS: begin the URL with rediss:// or rediss-sentinel://") if !$is_tls;
        $path{$name} = _absolute($name, $store->{$name});
    }
    _refuse('cert needs its key, too: key => $path')  if defined $path{cert} && !defined $path{key};
    _refuse('key needs its cert, too: cert => $path') if defined $path{key}  && !defined $path{cert};
    return %path;
}

# A URL of Redis. It may hold a password, so no message shows any of it.
sub _url {
    my $url = $SETTINGS->string('redis of store', shift, field => 'store');
    my ($scheme, $rest) = $url =~ m{\A([A-Za-z0-9+.-]+)://(.*)\z}s;
    _refuse("redis must be a URL, such as $EXAMPLE") if !defined $scheme;
    my ($is_sentinel) = $scheme =~ /\Arediss?(-sentinel)?\z/
        or _refuse('redis must begin with redis://, rediss://, redis-sentinel:// or rediss-sentinel://');
    _refuse(  'redis must be a URL without spaces, control characters and characters that are not ASCII;'
            . ' encode them in user and password, a space as %20')
        if $url =~ /[^\x21-\x7E]/;
    _refuse('redis must not have ? or #; encode them in user and password as %3F and %23; settings are beside redis')
        if $rest =~ /[?#]/;
    _refuse('redis has more than one @; encode it in user and password as %40') if $rest =~ /@.*@/;
    _refuse('redis has a % without two hexadecimal digits; encode it in user and password as %25')
        if $rest =~ /%(?![0-9A-Fa-f]{2})/;
    _refuse('redis has a user without a password: write USER:PASSWORD@, or :PASSWORD@ for the default user')
        if $rest =~ /\A[^:]*@/;
    my $host  = qr/$HOST(?:$PORT)?/;
    my $right = defined $is_sentinel ? qr{$HOST$PORT(?:,$HOST$PORT)*$MASTER(?:$DATABASE)?} : qr{$host(?:$DATABASE|/)?};
    my $form =
        defined $is_sentinel ? "hosts with ports and the name of the master: $SENTINEL" : "host and port: $EXAMPLE";
    _refuse("redis must have $form; encode / and : in user and password as %2F and %3A")
        if $rest !~ /\A(?:$USER@)?$right\z/;
    _refuse('redis has a port above 65535 or 0') if grep { $_ < 1 || $_ > 65_535 } _ports($rest);
    return $url;
}

sub _ports {
    my $hosts = shift;
    $hosts =~ s/\A.*@//;
    $hosts =~ s{/.*}{};
    return map { /:([0-9]+)\z/ ? $1 : () } split /,/, $hosts;
}

sub _whole_number {
    my ($name, $value, $from, $to) = @_;
    return $SETTINGS->whole_number("$name of store", $value, from => $from, to => $to, field => 'store');
}

1;
