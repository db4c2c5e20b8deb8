package EventSource::XS::Hub::Store;
use strict;
use warnings;

# The setting `store` of a hub: reads the hash, and makes of it what the native hub takes. The rules of the values are in
# src/store_settings, for the command line, too.

use EventSource::Hub::Process;
use EventSource::XS::Settings;

# An error reports the line of the application.
our @CARP_NOT = qw(EventSource::Hub EventSource::XS::Hub::ProcessSettings);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# Public methods

# Return what the native hub takes for store: a number, and so many names and values; none for memory. Throws an
# EventSource::Error with the code invalid if the hash does not have the form that EventSource::Hub describes. The native hub
# checks the values. No message shows any part of the URL of Redis, because that may hold a password.
sub native {
    my ($class, $store) = @_;
    my @names = !ref $store && $store eq 'memory' ? () : _names_of($store);
    return (store => scalar @names, map { ($_, _value($_, $store->{$_})) } @names);
}

# Private functions

# A URL may hold a password, so it must not be in the message about an unknown setting.
sub _check_for_urls {
    my $store = shift;
    _refuse('store has a URL as the name of a setting; write {redis => $url}') if grep { m{://} } keys %$store;
    return;
}

# The names of the settings that are given. One of them says where the store is.
sub _names_of {
    my $store = shift;
    my %kind  = map { ((split / /)[0] => [split / /]) } EventSource::Hub::Process->_call('store_names');
    my @kinds = sort keys %kind;
    my $forms = join ' or ', map { "{$_ => ...}" } @kinds;
    if (ref $store ne 'HASH') {
        my ($meant) = ref $store ? () : grep { $store =~ /\A\Q$_\E/i } @kinds;
        _refuse("store must be a hash: {$meant => ...}") if defined $meant;
        _refuse("store must be 'memory', $forms");
    }
    _check_for_urls($store);
    my @given = grep { defined $store->{$_} } @kinds;
    _refuse('store has ' . join(' and ', @given) . '; a hub has one store: remove one of them') if @given > 1;

    my %is_known  = map { ($_ => 1) } map { @$_ } values %kind;
    my %is_own    = map { ($_ => 1) } @given ? @{$kind{$given[0]}} : keys %is_known;
    my %foreign   = (queue => 1, when_down => 1, map { $is_own{$_} ? () : ($_ => 1) } keys %is_known);
    my %unforeign = map { $foreign{$_} ? () : ($_ => 1) } keys %$store;
    $SETTINGS->known(\%unforeign, [keys %is_own], 'setting %s of store');
    _refuse('store needs ' . join(' or ', @kinds) . ": $forms") if !@given;
    return grep { defined $store->{$_} } sort keys %$store;
}

sub _refuse { return $SETTINGS->refuse(store => shift) }

# A value as characters. Paths are such, or bytes of UTF-8.
sub _value {
    my ($name, $value) = @_;
    my $text = $SETTINGS->string("$name of store", $value, field => 'store');
    utf8::decode($text);
    return $text;
}

1;
