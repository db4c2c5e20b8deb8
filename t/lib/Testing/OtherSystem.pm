package Testing::OtherSystem;
use strict;
use warnings;

# Pretends another Unix system than Linux: the native library lacks the functions that src/xs has for Linux only. For all perls
# that a test starts:
#
#   PERL5OPT='-It/lib -MTesting::OtherSystem' prove -b -r t/stream

use XSLoader ();

my $SOURCES = __FILE__ =~ s{t/lib/Testing/\w+[.]pm\z}{src/xs}r;
my $load    = \&XSLoader::load;

# XSLoader looks for the library beside the file of its caller.
sub _load {
    my ($file, @arguments) = @_;
    my $code = eval qq{#line 1 "$file"\nsub { \$_[0]->(\@_[1 .. \$#_]); 1 }} or die $@;    ## no critic (StringyEval)
    $code->($load, @arguments);
    _remove_native();
    return;
}

# Removes the functions of the files that eventsource.xs includes for Linux.
sub _remove_native {
    my ($native) = _slurp('eventsource.xs') =~ /^INCLUDE: request[.]xs\n+#ifdef __linux__\n(.*?)^#endif/ms or die;
    for my $file ($native =~ /^INCLUDE: (\S+)/mg) {
        my ($package, $prefix);
        for (split /\n/, _slurp($file)) {
            if    (/^MODULE = \S+\s+PACKAGE = (\S+)(?:\s+PREFIX = (\S+))?/) { ($package, $prefix) = ($1, $2 // '') }
            elsif ($package && /^(?:    )?([A-Za-z_]\w*)(?:\(| = [0-9A-Z])/) {
                my $name = $1 =~ s/\A\Q$prefix\E//r;
                no strict 'refs';    ## no critic (NoStrict)
                undef *{"${package}::$name"} if defined &{"${package}::$name"};
            }
        }
    }
    return;
}

sub _slurp {
    my $name = shift;
    open my $from, '<', "$SOURCES/$name" or die "$SOURCES/$name: $!\n";
    local $/;
    return scalar readline $from;
}

no warnings 'redefine';    ## no critic (NoWarnings)
*XSLoader::load = sub {
    goto &$load if ($_[0] // '') ne 'EventSource::XS';
    return _load((caller)[1], @_);
};

1;
