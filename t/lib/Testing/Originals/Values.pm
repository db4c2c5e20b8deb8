package Testing::Originals::Values;
use strict;
use warnings;

# What an application may pass where a text or code is expected, for the comparisons with the originals. The values are made
# anew for each case.

use Exporter qw(import);

our @EXPORT_OK = qw(callable value);

package Testing::Originals::Text {
    use overload '""' => sub { $_[0]{text} }, fallback => 1;
}

package Testing::Originals::Number {
    use overload '0+' => sub { 42 }, fallback => 1;
}

package Testing::Originals::Compared {
    use overload '==' => sub { 1 }, fallback => 1;
}

package Testing::Originals::Code {
    use overload '&{}' => sub { $_[0]{code} }, bool => sub { 0 }, fallback => 1;
}

my %VALUES = (
    text            => sub { 'text' },
    empty           => sub { '' },
    space           => sub { ' ' },
    colon           => sub { ': x' },
    integer         => sub { 17 },
    negative        => sub { -3 },
    'a fraction'    => sub { 0.1 },
    large           => sub { 1e100 },
    infinite        => sub { 9**9**9 },
    'a true'        => sub { !!1 },
    'a version'     => sub { v1.2.3 },
    'a glob'        => sub { *STDOUT },
    'a tab'         => sub { "a\tb" },
    'UTF-8'         => sub { "\xC3\xA9" },
    undef           => sub { undef },
    'a scalar ref'  => sub { \'x' },
    'a ref of ref'  => sub { \\'x' },
    'a glob ref'    => sub { \*STDOUT },
    'a version ref' => sub { \v1.2 },
    'code'          => sub {
        sub { 1 }
    },
    'a pattern'         => sub { qr/x+/i },
    'an object'         => sub { bless {},                         'My::Class' },
    'an array object'   => sub { bless ['x'],                      'My::Class' },
    'a text object'     => sub { bless {text => 'from an object'}, 'Testing::Originals::Text' },
    'a number object'   => sub { bless [],                         'Testing::Originals::Number' },
    'a compared object' => sub { bless [],                         'Testing::Originals::Compared' },
);

# Returns the names of all values, or the value of a name.
sub value {
    my $name  = shift;
    my @names = sort keys %VALUES;
    return @names if !defined $name;
    return $VALUES{$name}->();
}

# What perl can call, each calling the given code, by its name.
sub callable {
    my $code = shift;
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    no warnings 'redefine';
    *{'Testing::Originals::called'} = $code;
    return (
        'code'                   => $code,
        'an object that is code' => bless(sub { $code->(@_) }, 'My::Class'),
        'an overloaded object'   => bless({code => $code},     'Testing::Originals::Code'),
        'a glob'                 => *{'Testing::Originals::called'},
        'a reference to a glob'  => \*{'Testing::Originals::called'},
    );
}

1;
