# EventSource::XS::Report: the text of an exception, and where it is printed.

use lib 't/lib';
use Testing;
use EventSource::XS::Report;

{

    package Mute;
    use overload '""' => sub { die "mute\n" }, bool => sub { 1 };
}
{

    package Worded;
    use overload '""' => sub { "in words\n" };
}

my @TEXTS = (
    ['a string'                      => "no disk\n",         'no disk'],
    ['a string of two lines'         => "no\ndisk\n",        "no\ndisk"],
    ['a string without a line break' => 'no disk',           'no disk'],
    ['bytes'                         => "gr\xC3\xB6\xDF",    "gr\xC3\xB6\xDF"],
    ['characters above U+00FF'       => 'größe ☺',           "gr\xC3\xB6\xC3\x9Fe \xE2\x98\xBA"],
    ['an object with a string'       => bless([], 'Worded'), 'in words'],
    ['an object without a string'    => bless([], 'Mute'),   'a Mute that cannot be made a string'],
);

for my $row (@TEXTS) {
    my ($what, $exception, $text) = @$row;
    is(EventSource::XS::Report->text_of($exception), $text, "the text of $what");
}

open my $errors, '>', \my $printed or die $!;
EventSource::XS::Report->exception($errors, 'My::App: the import failed', "no disk\n");
is $printed, "My::App: the import failed: no disk\n", 'exception prints one line to the handle';

open my $errors_of_callback, '>', \my $reported or die $!;
my %env = ('psgi.errors' => $errors_of_callback);
is_deeply(EventSource::XS::Report->call_back(\%env, 'x', sub { "@_" }, 1, 2),
    \'1 2', 'call_back returns a reference to the result');
is_deeply(EventSource::XS::Report->call_back(\%env, 'x', sub { undef }), \undef, 'the result may be undef');
is $reported, undef, 'nothing is reported then';
{
    local $@ = 'before';
    is(scalar EventSource::XS::Report->call_back(\%env, 'My::App: authorize', sub { die "no disk\n" }),
        undef, 'call_back returns nothing if the callback dies');
    is $@, 'before', 'call_back keeps $@';
}
is $reported, "My::App: authorize: no disk\n", 'the exception is reported';

my @warnings;
{
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    EventSource::XS::Report->exception(undef, 'My::App: the import failed', "no disk\n");
}
is_deeply \@warnings, ["My::App: the import failed: no disk\n"], 'exception warns if there is no handle';

$@ = 'kept';
EventSource::XS::Report->text_of(bless [], 'Mute');
is $@, 'kept', 'text_of keeps $@';

done_testing;
